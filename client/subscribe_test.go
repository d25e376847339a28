package client_test

import (
	"context"
	"encoding/json"
	"reflect"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/skein-mesh/skein/client"
	routerv1 "github.com/skein-mesh/skein/proto/gen/skein/router/v1"
)

// heard is what a subscription brought.
type heard struct {
	placed chan string   // routers, each time it was in place
	lost   chan error    // each time it was not any more
	ended  chan struct{} // closed when the loop ends

	mu       sync.Mutex // guards the fields below
	messages []client.Message
	err      error
}

// listen ranges over a subscription until ctx ends.
func listen(ctx context.Context, t *testing.T, c *client.Client, s client.Subscription) *heard {
	t.Helper()
	h := &heard{placed: make(chan string, 100), lost: make(chan error, 1000), ended: make(chan struct{})}
	s.Placed = func(router string) { h.placed <- router }
	s.Lost = func(err error) { h.lost <- err }
	go func() {
		defer close(h.ended)
		for m, err := range c.Subscribe(ctx, s) {
			h.add(m, err)
		}
	}()
	return h
}

func (h *heard) add(m client.Message, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err != nil {
		h.err = err
		return
	}
	h.messages = append(h.messages, m)
}

func (h *heard) all() ([]client.Message, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.messages), h.err
}

func (h *heard) events() []string {
	messages, _ := h.all()
	var events []string
	for _, m := range messages {
		events = append(events, m.Event)
	}
	return events
}

func TestPayloadsArriveAsTheyWere(t *testing.T) {
	inFleet(t, 2, func(t *testing.T, f *fleet) {
		c := f.client(t, client.Options{}, "r1", "r2")
		defer c.Close()
		ctx, cancel := context.WithCancel(t.Context())
		got := listen(ctx, t, c, client.Subscription{Prefix: "room:"})
		everything := listen(ctx, t, c, client.Subscription{})
		<-got.placed
		<-everything.placed
		const exact = `{"z": 9007199254740993, "a": []}`
		for _, m := range []client.Message{
			{Topic: "room:1", Event: "object", Payload: map[string]int{"n": 1}},
			{Topic: "room:2", Event: "text", Payload: json.RawMessage(exact)},
			{Topic: "room:3", Event: "bytes", Payload: client.Binary{0, 255}},
			{Topic: "room:4", Event: "nothing"},
			{Topic: "lobby", Event: "elsewhere"},
		} {
			if _, err := c.Publish(t.Context(), m.Topic, m.Event, m.Payload); err != nil {
				t.Error(err)
			}
		}
		settle()
		want := []client.Message{
			{Topic: "room:1", Event: "object", Payload: json.RawMessage(`{"n":1}`)},
			{Topic: "room:2", Event: "text", Payload: json.RawMessage(exact)},
			{Topic: "room:3", Event: "bytes", Payload: client.Binary{0, 255}},
			{Topic: "room:4", Event: "nothing", Payload: json.RawMessage(`{}`)},
		}
		messages, err := got.all()
		slices.SortFunc(messages, func(a, b client.Message) int { return int(a.Topic[5]) - int(b.Topic[5]) })
		if err != nil || !reflect.DeepEqual(messages, want) {
			t.Errorf("%v, %v", messages, err)
		}
		if n := len(everything.events()); n != 5 {
			t.Errorf("%d messages in all", n)
		}
		var object struct{ N int }
		if err := messages[0].Decode(&object); err != nil || object.N != 1 || messages[2].Decode(&object) == nil {
			t.Errorf("decoded %v, %v", object, err)
		}
		cancel()
		<-got.ended
		<-everything.ended
		if _, err := got.all(); err != nil {
			t.Errorf("ended with %v", err)
		}
	})
}

func TestASubscriptionOutlivesItsRouter(t *testing.T) {
	for name, end := range map[string]func(t *testing.T, f *fleet, id string){
		"crash": func(t *testing.T, f *fleet, id string) {
			t.Helper()
			f.kill(t.Context(), id)
		},
		"planned": func(t *testing.T, f *fleet, id string) {
			t.Helper()
			if err := f.stop(id); err != nil {
				t.Error(err)
			}
		},
	} {
		inFleet(t, 3, func(t *testing.T, f *fleet) {
			c := f.client(t, client.Options{Repeat: true}, "r1", "r2", "r3")
			defer c.Close()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			got := listen(ctx, t, c, client.Subscription{Topic: "room:1"})
			first := <-got.placed
			end(t, f, first)
			if err := <-got.lost; err == nil {
				t.Errorf("%s: lost without a reason", name)
			}
			if second := <-got.placed; second == first {
				t.Errorf("%s: placed at %s again", name, second)
			}
			if _, err := c.Publish(t.Context(), "room:1", "after", nil); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			settle()
			if events := got.events(); !slices.Equal(events, []string{"after"}) {
				t.Errorf("%s: got %v", name, events)
			}
			cancel()
			<-got.ended
		})
	}
}

func TestASubscriptionThatMakesNoSense(t *testing.T) {
	inFleet(t, 1, func(t *testing.T, f *fleet) {
		c := f.client(t, client.Options{}, "r1")
		defer c.Close()
		got := listen(t.Context(), t, c, client.Subscription{Topic: "phoenix"})
		<-got.ended
		if _, err := got.all(); status.Code(err) != codes.InvalidArgument {
			t.Error(err)
		}
	})
}

func TestALoopThatBreaksEndsItsSubscription(t *testing.T) {
	var ended chan struct{}
	a := &fake{subscribe: func(stream routerv1.RouterService_SubscribeServer) error {
		_ = stream.Send(&routerv1.SubscribeResponse{Kind: &routerv1.SubscribeResponse_Message{Message: &routerv1.Message{}}})
		<-stream.Context().Done()
		close(ended)
		return nil
	}}
	withFakes(t, map[string]*fake{"a": a}, func(t *testing.T, n *network) {
		ended = make(chan struct{})
		c := n.client(t, client.Options{}, "a")
		defer c.Close()
		for range c.Subscribe(t.Context(), client.Subscription{}) {
			break
		}
		<-ended
	})
}

// A router that ends every subscription at once is not asked without pause.
func TestASubscriptionThatIsLostAgainAndAgain(t *testing.T) {
	asked := 0
	a := &fake{subscribe: func(stream routerv1.RouterService_SubscribeServer) error {
		asked++
		return stream.Send(&routerv1.SubscribeResponse{Kind: &routerv1.SubscribeResponse_Subscribed{Subscribed: &routerv1.Subscribed{}}})
	}}
	withFakes(t, map[string]*fake{"a": a}, func(t *testing.T, n *network) {
		c := n.client(t, client.Options{}, "a")
		defer c.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		got := listen(ctx, t, c, client.Subscription{})
		<-got.ended
		synctest.Wait()
		if asked < 2 || asked > 41 {
			t.Errorf("asked %d times in a second", asked)
		}
	})
}
