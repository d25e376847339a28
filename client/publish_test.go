package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/skein-mesh/skein/client"
	routerv1 "github.com/skein-mesh/skein/proto/gen/skein/router/v1"
)

func accepts(owner string) *fake {
	return &fake{publish: func(context.Context, *routerv1.PublishRequest) (*routerv1.PublishResponse, error) {
		return &routerv1.PublishResponse{Owner: owner}, nil
	}}
}

func fails(err error) *fake {
	return &fake{publish: func(context.Context, *routerv1.PublishRequest) (*routerv1.PublishResponse, error) { return nil, err }}
}

func TestAPublishGoesPastARouterThatIsNotThere(t *testing.T) {
	withFakes(t, map[string]*fake{"b": accepts("b")}, func(t *testing.T, n *network) {
		for range 8 { // wherever it begins
			c := n.client(t, client.Options{}, "a", "b", "gone")
			began := time.Now()
			receipt, err := c.Publish(t.Context(), "room:1", "e", nil)
			if err != nil || receipt.Owner != "b" || time.Since(began) > time.Second {
				t.Errorf("%v, %v after %s", receipt, err, time.Since(began))
			}
			_ = c.Close()
		}
	})
}

func TestAPublishGoesPastARouterThatLeaves(t *testing.T) {
	leaving, err := status.New(codes.Unavailable, "leaves").WithDetails(&errdetails.ErrorInfo{Reason: "LEAVING", Domain: "skein"})
	if err != nil {
		t.Fatal(err)
	}
	asked := 0
	a := &fake{publish: func(context.Context, *routerv1.PublishRequest) (*routerv1.PublishResponse, error) {
		asked++
		return nil, leaving.Err()
	}}
	withFakes(t, map[string]*fake{"a": a, "b": fails(leaving.Err()), "c": accepts("c")}, func(t *testing.T, n *network) {
		c := n.client(t, client.Options{}, "a", "b", "c")
		defer c.Close()
		if receipt, err := c.Publish(t.Context(), "room:1", "e", nil); err != nil || receipt.Owner != "c" {
			t.Errorf("%v, %v", receipt, err)
		}
		before := asked
		if _, err := c.Publish(t.Context(), "room:1", "e", nil); err != nil || asked != before {
			t.Errorf("it went back to a router that left: %v", err)
		}
	})
}

// Nobody knows what became of a call whose connection broke.
func TestACallThatBreaksIsUncertain(t *testing.T) {
	for _, repeat := range []bool{false, true} {
		var n *network
		broke := 0
		a := &fake{publish: func(ctx context.Context, _ *routerv1.PublishRequest) (*routerv1.PublishResponse, error) {
			broke++
			n.cut("a", true)
			<-ctx.Done()
			return nil, ctx.Err()
		}}
		withFakes(t, map[string]*fake{"a": a, "b": accepts("b")}, func(t *testing.T, made *network) {
			n = made
			for broke == 0 { // whichever it begins with
				c := n.client(t, client.Options{Repeat: repeat}, "a", "b")
				_, err := c.Publish(t.Context(), "room:1", "e", nil)
				if broke == 1 && !repeat && (!errors.Is(err, client.ErrUncertain) || status.Code(err) != codes.Unavailable) {
					t.Errorf("got %v", err)
				}
				if (broke == 0 || repeat) && err != nil {
					t.Error(err)
				}
				if _, err := c.Publish(t.Context(), "room:1", "e", nil); err != nil && broke == 1 {
					t.Errorf("the next publish: %v", err)
				}
				_ = c.Close()
			}
		})
	}
}

func TestOverloadIsWaitedFor(t *testing.T) {
	for _, batch := range []bool{false, true} {
		calls := 0
		overloaded := func() codes.Code {
			if calls++; calls <= 3 {
				return codes.ResourceExhausted
			}
			return codes.OK
		}
		f := &fake{
			publish: func(context.Context, *routerv1.PublishRequest) (*routerv1.PublishResponse, error) {
				return &routerv1.PublishResponse{}, status.Error(overloaded(), "full")
			},
			batch: func(context.Context, *routerv1.PublishBatchRequest) (*routerv1.PublishBatchResponse, error) {
				return &routerv1.PublishBatchResponse{Results: []*routerv1.PublishResult{{Code: int32(overloaded())}}}, nil
			},
		}
		withFakes(t, map[string]*fake{"a": f}, func(t *testing.T, n *network) {
			c := n.client(t, client.Options{Batch: batch}, "a")
			defer c.Close()
			began := time.Now()
			_, err := c.Publish(t.Context(), "room:1", "e", nil)
			if waited := time.Since(began); err != nil || calls != 4 || waited < 100*time.Millisecond || waited > time.Second {
				t.Errorf("batch %v: %v after %d calls and %s", batch, err, calls, waited)
			}
		})
	}
}

func TestNobodyIsThere(t *testing.T) {
	for _, batch := range []bool{false, true} {
		withFakes(t, nil, func(t *testing.T, n *network) {
			c := n.client(t, client.Options{Timeout: 3 * time.Second, Batch: batch}, "a", "b")
			defer c.Close()
			began := time.Now()
			_, err := c.Publish(t.Context(), "room:1", "e", nil)
			// A batch that is under way may still go out after its caller went.
			if code := status.Code(err); err == nil || errors.Is(err, client.ErrUncertain) && !batch || code != codes.Unavailable && code != codes.DeadlineExceeded {
				t.Errorf("batch %v: %v", batch, err)
			}
			if waited := time.Since(began); waited < time.Second || waited > 3*time.Second {
				t.Errorf("batch %v: waited %s", batch, waited)
			}
		})
	}
}

func TestWhatARouterRefusesIsNotTriedAgain(t *testing.T) {
	asked := 0
	refuse := &fake{publish: func(context.Context, *routerv1.PublishRequest) (*routerv1.PublishResponse, error) {
		asked++
		return nil, status.Error(codes.InvalidArgument, "message.topic: no")
	}}
	withFakes(t, map[string]*fake{"a": refuse, "b": refuse}, func(t *testing.T, n *network) {
		c := n.client(t, client.Options{}, "a", "b")
		defer c.Close()
		_, err := c.Publish(t.Context(), "phoenix", "e", nil)
		if status.Code(err) != codes.InvalidArgument || asked != 1 || !strings.Contains(err.Error(), `publish "e" on "phoenix"`) {
			t.Errorf("%v after %d", err, asked)
		}
		for name, payload := range map[string]any{"no JSON": make(chan int), "too large": client.Binary(make([]byte, 9<<20))} {
			if _, err := c.Publish(t.Context(), "room:1", "e", payload); err == nil || asked != 1 {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

func TestPublishBatch(t *testing.T) {
	inFleet(t, 3, func(t *testing.T, f *fleet) {
		c := f.client(t, client.Options{}, "r1", "r2", "r3")
		defer c.Close()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		got := listen(ctx, t, c, client.Subscription{Topic: "room:1"})
		<-got.placed
		const count = 2500 // more than fit in two calls
		messages := make([]client.Message, count)
		for i := range messages {
			messages[i] = client.Message{Topic: "room:1", Event: fmt.Sprint("e", i), Payload: json.RawMessage(`{}`)}
		}
		messages[7].Topic, messages[8].Payload, messages[2400].Event = "phoenix", make(chan int), "phx_join"
		results, err := c.PublishBatch(t.Context(), messages)
		if err == nil || !strings.Contains(err.Error(), "3 of 2500 messages were not published") || status.Code(results[7].Err) != codes.InvalidArgument {
			t.Errorf("%v, %v", err, results[7])
		}
		var want []string
		for i, r := range results {
			if bad := i == 7 || i == 8 || i == 2400; bad != (r.Err != nil) || bad == (r.Owner != "") {
				t.Errorf("%d: %v", i, r)
			} else if !bad {
				want = append(want, messages[i].Event)
			}
		}
		settle()
		if events := got.events(); !slices.Equal(events, want) {
			t.Errorf("%d of %d messages, or in another order", len(events), len(want))
		}
		if _, err := c.PublishBatch(t.Context(), nil); err != nil {
			t.Error(err)
		}
	})
}

// Routers are replaced one after another under a client that publishes: every
// publish succeeds, and every message arrives once and in order.
func TestRollingRestartUnderAPublisher(t *testing.T) {
	for _, batch := range []bool{false, true} {
		inFleet(t, 3, func(t *testing.T, f *fleet) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			listener := f.client(t, client.Options{}, "r3")
			defer listener.Close()
			got := listen(ctx, t, listener, client.Subscription{Topic: "room:1"})
			<-got.placed
			c := f.client(t, client.Options{Batch: batch}, "r1", "r2")
			defer c.Close()
			stop, done := make(chan struct{}), make(chan struct{})
			var want []string
			go func() {
				defer close(done)
				for i := 0; ; i++ {
					select {
					case <-stop:
						return
					default:
					}
					event := fmt.Sprint("e", i)
					if _, err := c.Publish(ctx, "room:1", event, map[string]int{"n": i}); err != nil {
						t.Errorf("batch %v: %v", batch, err)
						return
					}
					want = append(want, event)
					time.Sleep(20 * time.Millisecond) // virtual time
				}
			}()
			for _, id := range []string{"r1", "r2"} {
				if err := f.stop(id); err != nil {
					t.Error(err)
				}
				time.Sleep(time.Second) // virtual time
				if err := f.start(t.Context(), id); err != nil {
					t.Error(err)
				}
				settle()
			}
			close(stop)
			<-done
			settle()
			if events := got.events(); !slices.Equal(events, want) {
				t.Errorf("batch %v: %d of %d messages arrived, or in another order", batch, len(events), len(want))
			}
		})
	}
}
