package uplink

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/test/bufconn"

	"github.com/skein-mesh/skein/pkg/bubble"
	"github.com/skein-mesh/skein/pkg/channel"
	"github.com/skein-mesh/skein/pkg/rpc"
	"github.com/skein-mesh/skein/pkg/telemetry"
	meshv1 "github.com/skein-mesh/skein/proto/gen/skein/mesh/v1"
)

// callsFunc implements [Calls].
type callsFunc func(context.Context, *meshv1.EdgeCall) *meshv1.EdgeAnswer

func (f callsFunc) Call(ctx context.Context, call *meshv1.EdgeCall) *meshv1.EdgeAnswer {
	return f(ctx, call)
}

func pollAnswer(text string) *meshv1.EdgeAnswer {
	return &meshv1.EdgeAnswer{Answer: &meshv1.EdgeAnswer_Poll{Poll: &meshv1.PollResponse{
		Status: 200, Messages: []*meshv1.PollMessage{{Data: []byte(text)}},
	}}}
}

func call(seq uint64) *meshv1.EdgeCall { return &meshv1.EdgeCall{Seq: seq} }

func cancelOf(seq uint64) *meshv1.EdgeCall {
	return &meshv1.EdgeCall{Seq: seq, Call: &meshv1.EdgeCall_Cancel{Cancel: true}}
}

func TestACallThatWaitsHoldsNothingUp(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		p := newPort(false, 1<<20, callsFunc(func(ctx context.Context, c *meshv1.EdgeCall) *meshv1.EdgeAnswer {
			if c.GetSeq() == 1 {
				<-ctx.Done()
			}
			return pollAnswer("m")
		}))
		p.calls.begin(t.Context(), call(1))
		p.calls.begin(t.Context(), call(2))
		synctest.Wait()
		if got := p.pack(p.out.Take(nil)).GetAnswers(); len(got) != 1 || got[0].GetSeq() != 2 {
			t.Errorf("got %v", got)
		}
		p.calls.begin(t.Context(), cancelOf(2)) // too late
		p.calls.begin(t.Context(), cancelOf(1))
		synctest.Wait()
		if got := p.pack(p.out.Take(nil)).GetAnswers(); len(got) != 1 || got[0].GetSeq() != 1 {
			t.Errorf("got %v", got)
		}
		p.calls.wait()
	})
}

// A publish waits behind few answers, however many there are.
func TestAnswersWaitForTheirTurn(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		p := newPort(false, 1<<20, callsFunc(func(context.Context, *meshv1.EdgeCall) *meshv1.EdgeAnswer { return pollAnswer("large") }))
		ctx, over := context.WithCancel(t.Context())
		for seq := range uint64(10) {
			p.calls.begin(ctx, call(seq))
		}
		synctest.Wait()
		for _, want := range []int{maxAnswers, maxAnswers} {
			items := p.out.Take(nil)
			if len(items) != want {
				t.Errorf("%d answers wait, want %d", len(items), want)
			}
			for _, it := range items {
				if it.cost() != 0 || it.size <= fixedSize {
					t.Errorf("cost %d, size %d", it.cost(), it.size)
				}
			}
			p.pack(items)
			synctest.Wait()
		}
		over()
		p.calls.wait() // also for those that will not be sent
	})
}

func TestAnEdgeThatKnowsNoCallsSaysSo(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		for _, handler := range []Calls{nil, callsFunc(func(context.Context, *meshv1.EdgeCall) *meshv1.EdgeAnswer { return nil })} {
			p := newPort(false, 1<<20, handler)
			p.calls.begin(t.Context(), call(7))
			synctest.Wait()
			got := p.pack(p.out.Take(nil)).GetAnswers()
			if len(got) != 1 || got[0].GetSeq() != 7 || got[0].GetAnswer() != nil {
				t.Errorf("got %v", got)
			}
		}
	})
}

// caller is a router that calls once and ends the stream when it is told.
type caller struct {
	meshv1.UnimplementedMeshServiceServer

	answers chan *meshv1.EdgeAnswer
}

func (c *caller) Attach(stream meshv1.MeshService_AttachServer) error {
	err := stream.Send(&meshv1.AttachResponse{
		Hello: &meshv1.Hello{Id: "r1", Incarnation: 1}, View: viewOf("r1"), Calls: []*meshv1.EdgeCall{call(1), call(2)},
	})
	for err == nil {
		var m *meshv1.AttachRequest
		if m, err = stream.Recv(); err == nil && len(m.GetAnswers()) > 0 {
			select {
			case c.answers <- m.GetAnswers()[0]:
			default: // of a later stream
			}
			return errors.New("enough")
		}
	}
	return err
}

// nowhere implements [Local].
type nowhere struct{}

func (nowhere) Confirm(string, error)         {}
func (nowhere) Deliver(channel.Broadcast) int { return 0 }
func (nowhere) Fail(func(topic string) bool)  {}

func TestCallsEndWithTheirStream(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		router := &caller{answers: make(chan *meshv1.EdgeAnswer, 1)}
		listener := bufconn.Listen(1 << 16)
		server := rpc.NewServer(telemetry.Nop(), telemetry.Nop().Log)
		meshv1.RegisterMeshServiceServer(server, router)
		go func() { _ = server.Serve(listener) }()
		ended := make(chan struct{}, 1)
		tel := telemetry.Nop()
		u := New(Config{ID: "e1", Incarnation: 1, QueueBytes: 1 << 20}, Deps{
			Seeds: oneSeed{},
			Log:   tel.Log, Meter: tel.Meter, Tracer: tel.Tracer,
			Dial: func(string) (*grpc.ClientConn, error) {
				return rpc.Dial("passthrough:///r1", grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
					return listener.DialContext(ctx)
				}))
			},
			Calls: callsFunc(func(ctx context.Context, c *meshv1.EdgeCall) *meshv1.EdgeAnswer {
				if c.GetSeq() == 1 {
					<-ctx.Done()
					select {
					case ended <- struct{}{}:
					default:
					}
				}
				return pollAnswer("m")
			}),
		})
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- u.Run(ctx, nowhere{}) }()
		if a := <-router.answers; a.GetSeq() != 2 || a.GetPoll().GetStatus() != 200 {
			t.Errorf("got %v", a)
		}
		<-ended
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		server.Stop()
		time.Sleep(time.Minute) // virtual time: gRPC's timers end
	})
}

// oneSeed is a router that is always at the same address.
type oneSeed struct{}

func (oneSeed) Addresses() []string { return []string{"r1"} }
func (oneSeed) Refresh()            {}
