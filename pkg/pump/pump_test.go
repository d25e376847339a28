package pump_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/skein-mesh/skein/pkg/bubble"
	"github.com/skein-mesh/skein/pkg/pump"
	"github.com/skein-mesh/skein/pkg/queue"
	meshv1 "github.com/skein-mesh/skein/proto/gen/skein/mesh/v1"
)

type (
	request  = meshv1.PeerRequest
	response = meshv1.PeerResponse
)

// server answers Peer with a function of the test.
type server struct {
	meshv1.UnimplementedMeshServiceServer

	peer func(stream meshv1.MeshService_PeerServer) error
}

func (s *server) Peer(stream meshv1.MeshService_PeerServer) error { return s.peer(stream) }

// serve returns a client of peer; both end with the bubble.
func serve(t *testing.T, peer func(stream meshv1.MeshService_PeerServer) error) meshv1.MeshServiceClient {
	t.Helper()
	listener := bufconn.Listen(1 << 20)
	s := grpc.NewServer()
	meshv1.RegisterMeshServiceServer(s, &server{peer: peer})
	go func() { _ = s.Serve(listener) }()
	t.Cleanup(s.Stop)
	return dial(t, func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) })
}

func dial(t *testing.T, dialer func(context.Context, string) (net.Conn, error)) meshv1.MeshServiceClient {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///pump", grpc.WithContextDialer(dialer),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return meshv1.NewMeshServiceClient(conn)
}

func names() *queue.Queue[string] {
	return queue.New(64<<20, func(s string) int { return len(s) })
}

// client is the end that sends names as deliveries.
func client(out *queue.Queue[string], handle func(*response) error) pump.Stream[string, request, response] {
	return pump.Stream[string, request, response]{
		First: &request{Hello: &meshv1.Hello{Id: "client"}},
		Queue: out,
		Size:  func(s string) int { return len(s) },
		Pack: func(items []string) *request {
			m := &request{}
			for _, s := range items {
				m.Deliveries = append(m.Deliveries, &meshv1.Broadcast{Topic: s})
			}
			return m
		},
		Beat:   func() *request { return &request{Beat: true} },
		Handle: handle,
	}
}

// answers is the end that sends numbers as acknowledgements.
func answers(out *queue.Queue[uint64], handle func(*request) error) pump.Stream[uint64, response, request] {
	return pump.Stream[uint64, response, request]{
		First: &response{Hello: &meshv1.Hello{Id: "server"}},
		Queue: out,
		Size:  func(uint64) int { return 8 },
		Pack: func(items []uint64) *response {
			m := &response{}
			for _, n := range items {
				m.Acks = append(m.Acks, &meshv1.PublishAck{Seq: n})
			}
			return m
		},
		Beat:   func() *response { return &response{Beat: true} },
		Handle: handle,
	}
}

func numbers() *queue.Queue[uint64] { return queue.New(64<<20, func(uint64) int { return 8 }) }

func ignore[M any](*M) error { return nil }

func TestBothDirectionsKeepTheirOrder(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		const n = 5000
		var got []string
		var mu sync.Mutex
		first, largest := "", 0
		back := numbers()
		c := serve(t, func(stream meshv1.MeshService_PeerServer) error {
			return answers(back, func(m *request) error {
				mu.Lock()
				defer mu.Unlock()
				if first == "" {
					first = m.GetHello().GetId()
				}
				largest = max(largest, len(m.GetDeliveries()))
				for _, b := range m.GetDeliveries() {
					got = append(got, b.GetTopic())
					_ = back.Push(uint64(len(got)))
				}
				return nil
			}).Server(stream.Context(), stream)
		})
		out := names()
		var want []string
		for i := range n {
			want = append(want, fmt.Sprint(i))
			_ = out.Push(want[i])
		}
		var acked []uint64
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		err := client(out, func(m *response) error {
			for _, a := range m.GetAcks() {
				acked = append(acked, a.GetSeq())
			}
			if len(acked) == n {
				cancel()
			}
			return nil
		}).Client(ctx, c.Peer)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("ended with %v", err)
		}
		mu.Lock()
		defer mu.Unlock()
		if !slices.Equal(got, want) || !slices.IsSorted(acked) || len(acked) != n {
			t.Errorf("got %d of %d, acked %d", len(got), n, len(acked))
		}
		if first != "client" {
			t.Errorf("the first message came from %q", first)
		}
		if largest < 2 || largest > pump.MaxBatchItems {
			t.Errorf("the largest batch had %d items", largest)
		}
	})
}

func TestLargeItemsTravelInSeveralMessages(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		got := make(chan int, 100)
		c := serve(t, func(stream meshv1.MeshService_PeerServer) error {
			return answers(numbers(), func(m *request) error {
				if n := len(m.GetDeliveries()); n > 0 {
					got <- n
				}
				return nil
			}).Server(stream.Context(), stream)
		})
		out := names()
		for _, size := range []int{100, pump.MaxBatchBytes, 2 * pump.MaxBatchBytes, 100, 100} {
			_ = out.Push(strings.Repeat("x", size))
		}
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		_ = client(out, ignore[response]).Client(ctx, c.Peer)
		var batches []int
		for len(got) > 0 {
			batches = append(batches, <-got)
		}
		if !slices.Equal(batches, []int{1, 1, 1, 2}) {
			t.Errorf("batches %v", batches)
		}
	})
}

// A stream on which nothing happens lives on its beats.
func TestQuietStreamLives(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		c := serve(t, func(stream meshv1.MeshService_PeerServer) error {
			return answers(numbers(), ignore[request]).Server(stream.Context(), stream)
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		err := client(names(), ignore[response]).Client(ctx, c.Peer)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("ended with %v", err)
		}
	})
}

func TestSilentServerIsNoticed(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		c := serve(t, func(stream meshv1.MeshService_PeerServer) error {
			<-stream.Context().Done() // reads and says nothing
			return nil
		})
		began := time.Now()
		err := client(names(), ignore[response]).Client(t.Context(), c.Peer)
		if took := time.Since(began); !errors.Is(err, pump.ErrSilent) || took > pump.Silence+2*pump.BeatInterval {
			t.Errorf("ended with %v after %s", err, took)
		}
	})
}

// Even a client whose messages are not taken in notices: its sender is stuck in
// flow control.
func TestSilentServerIsNoticedByAStuckSender(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		c := serve(t, func(stream meshv1.MeshService_PeerServer) error {
			<-stream.Context().Done()
			return nil
		})
		out := names()
		for range 100 {
			_ = out.Push(strings.Repeat("x", pump.MaxBatchBytes))
		}
		if err := client(out, ignore[response]).Client(t.Context(), c.Peer); !errors.Is(err, pump.ErrSilent) {
			t.Errorf("ended with %v", err)
		}
	})
}

func TestSilentClientIsNoticed(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		ended := make(chan error, 1)
		c := serve(t, func(stream meshv1.MeshService_PeerServer) error {
			err := answers(numbers(), ignore[request]).Server(stream.Context(), stream)
			ended <- err
			return err
		})
		if _, err := c.Peer(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := <-ended; !errors.Is(err, pump.ErrSilent) {
			t.Errorf("ended with %v", err)
		}
	})
}

func TestRefusedMessageEndsTheStream(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		c := serve(t, func(stream meshv1.MeshService_PeerServer) error {
			return answers(numbers(), func(*request) error {
				return status.Error(codes.InvalidArgument, "no")
			}).Server(stream.Context(), stream)
		})
		err := client(names(), ignore[response]).Client(t.Context(), c.Peer)
		if status.Code(err) != codes.InvalidArgument {
			t.Errorf("ended with %v", err)
		}
		own := errors.New("mine")
		err = client(names(), func(*response) error { return own }).Client(t.Context(), c.Peer)
		if !errors.Is(err, own) && status.Code(err) != codes.InvalidArgument { // whichever came first
			t.Errorf("ended with %v", err)
		}
	})
}

func TestServerMayEndItsStream(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		kicked := errors.New("kicked")
		c := serve(t, func(stream meshv1.MeshService_PeerServer) error {
			ctx, cancel := context.WithCancelCause(stream.Context())
			time.AfterFunc(time.Second, func() { cancel(kicked) })
			if err := answers(numbers(), ignore[request]).Server(ctx, stream); !errors.Is(err, kicked) {
				t.Errorf("server ended with %v", err)
			}
			return status.Error(codes.Aborted, "kicked")
		})
		err := client(names(), ignore[response]).Client(t.Context(), c.Peer)
		if status.Code(err) != codes.Aborted {
			t.Errorf("client ended with %v", err)
		}
	})
}

func TestConnectionThatNeverComes(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		c := dial(t, func(ctx context.Context, _ string) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})
		began := time.Now()
		err := client(names(), ignore[response]).Client(t.Context(), c.Peer)
		if took := time.Since(began); err == nil || took > pump.Silence+time.Second {
			t.Errorf("ended with %v after %s", err, took)
		}
	})
}
