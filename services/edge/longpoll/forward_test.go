package longpoll

import (
	"context"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	grpcstatus "google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/skein-mesh/skein/pkg/bubble"
	meshv1 "github.com/skein-mesh/skein/proto/gen/skein/mesh/v1"
)

func pollRequest(edge, session string, publish bool) *meshv1.PollRequest {
	return &meshv1.PollRequest{Edge: edge, Session: session, Publish: publish, Mount: mount}
}

// router passes polls on to edges by their name, as a real one does.
type router struct {
	grpc.ClientConnInterface

	edges   map[string]*edge
	leaving atomic.Int32 // how many requests are still refused
	fails   atomic.Bool
}

// Invoke implements [grpc.ClientConnInterface].
func (r *router) Invoke(ctx context.Context, _ string, args, reply any, _ ...grpc.CallOption) error {
	req, _ := args.(*meshv1.PollRequest)
	e := r.edges[req.GetEdge()]
	switch {
	case r.leaving.Add(-1) >= 0:
		s, err := grpcstatus.New(codes.Unavailable, "").WithDetails(&errdetails.ErrorInfo{Reason: leaving})
		if err != nil {
			return err
		}
		return s.Err()
	case r.fails.Load():
		return grpcstatus.Error(codes.Unavailable, "broken")
	case e == nil:
		return grpcstatus.Error(codes.NotFound, "not attached")
	}
	answer := e.Poll(ctx, req)
	if ctx.Err() != nil {
		return grpcstatus.FromContextError(ctx.Err()).Err()
	}
	proto.Merge(reply.(proto.Message), answer)
	return nil
}

// withTwo runs a test with the edges a and b, which reach each other.
func withTwo(t *testing.T, test func(t *testing.T, r *router, a, b *edge)) {
	t.Helper()
	bubble.Test(t, func(t *testing.T) {
		r := &router{edges: map[string]*edge{}}
		change := func(o *Options) {
			o.Router = func() (grpc.ClientConnInterface, bool) { return r, true }
		}
		a, b := start(t, "a", change), start(t, "b", change)
		r.edges["a"], r.edges["b"] = a, b
		test(t, r, a, b)
		a.end()
		b.end()
	})
}

func TestAnyEdgeServesASession(t *testing.T) {
	withTwo(t, func(t *testing.T, _ *router, a, b *edge) {
		token, c := a.open()
		b.post(token, "[1]", "AAEC").want(t, 0, `{"status":200}`)
		if got := c.received(); len(got) != 2 || got[1] != "\x00\x01\x02" {
			t.Errorf("got %q", got)
		}
		if m := b.get(token).Messages; len(m) != 1 || m[0] != "[1]" {
			t.Errorf("got %q", m) // the second is no frame that a server sends
		}
		time.AfterFunc(time.Second, func() { c.send("[2]") })
		b.get(token).want(t, time.Second, `{"messages":["[2]"],"status":200,"token":"`+token+`"}`)
		b.get(token).want(t, 10*time.Second, `{"messages":[],"status":204,"token":"`+token+`"}`)
		if b.count.forwards.Load() != 4 || b.count.dropped[dropBinary].Load() != 1 {
			t.Errorf("%d forwards", b.count.forwards.Load())
		}
	})
}

func TestASessionThatEndedIsOpenedWhereItIsAskedFor(t *testing.T) {
	withTwo(t, func(t *testing.T, _ *router, a, b *edge) {
		token, _ := a.open()
		time.Sleep(time.Minute) // virtual time
		again := b.get(token)
		if again.Status != http.StatusGone || b.Count() != 1 {
			t.Errorf("got %s", again.Body)
		}
		b.post(token, "[]").want(t, 0, `{"status":410}`)
	})
}

func TestAnEdgeThatIsGoneEndsTheSession(t *testing.T) {
	withTwo(t, func(t *testing.T, r *router, a, b *edge) {
		token, _ := a.open()
		delete(r.edges, "a")
		b.get(token).want(t, 0, `{"messages":[],"status":500,"token":"`+token+`"}`)
		b.post(token, "[]").want(t, 0, `{"status":500}`)
	})
}

func TestARequestIsSentAgainOnlyIfItWasNotPassedOn(t *testing.T) {
	withTwo(t, func(t *testing.T, r *router, a, b *edge) {
		token, c := a.open()
		r.leaving.Store(3)
		b.post(token, "[]").want(t, 3*retryPause, `{"status":200}`)
		r.leaving.Store(100)
		b.post(token, "[]").want(t, retryTime, `{"status":500}`)
		r.leaving.Store(0)
		r.fails.Store(true)
		b.post(token, "[]").want(t, 0, `{"status":500}`)
		if got := c.received(); len(got) != 1 {
			t.Errorf("got %q", got)
		}
	})
}

func TestAPollThatIsCancelledElsewhereTakesNothing(t *testing.T) {
	withTwo(t, func(t *testing.T, _ *router, a, b *edge) {
		token, c := a.open()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		b.do(ctx, http.MethodGet, "vsn=2.0.0&token="+token, "")
		synctest.Wait()
		c.send("[]")
		if m := a.get(token).Messages; len(m) != 1 {
			t.Errorf("got %q", m)
		}
	})
}

// A session outlives the edge that serves its requests: the one that waits is
// cut at the end of the drain, the next is sent elsewhere.
func TestAnEdgeThatPassesOnDrains(t *testing.T) {
	withTwo(t, func(t *testing.T, _ *router, a, b *edge) {
		cut, _ := a.open()
		lives, c := a.open()
		polled := make(chan answer, 2)
		for _, token := range []string{cut, lives} {
			go func() { polled <- b.get(token) }()
		}
		synctest.Wait()
		b.stop()
		time.Sleep(time.Second) // virtual time
		c.send("[]")
		if first := <-polled; first.Status != http.StatusOK {
			t.Errorf("got %s", first.Body)
		}
		next := b.get(lives)
		next.want(t, 0, `{"messages":[],"status":204,"token":"`+lives+`"}`)
		if next.Header().Get("Connection") != "close" {
			t.Error("the connection stays")
		}
		(<-polled).want(t, 5*time.Second, `{"messages":[],"status":500,"token":"`+cut+`"}`)
	})
}

func TestPollOfAnotherEdge(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, e *edge) {
		token, _ := e.open()
		parsed, err := parseToken(token)
		if err != nil {
			t.Fatal(err)
		}
		for _, req := range []*meshv1.PollRequest{
			pollRequest("e2", parsed.secret.String(), false), pollRequest("e1", "rubbish", false), {}, nil,
		} {
			if got := e.Poll(t.Context(), req); got.GetStatus() != http.StatusGone {
				t.Errorf("%v: %v", req, got)
			}
		}
	})
}
