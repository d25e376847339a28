package client_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/skein-mesh/skein/client"
	routerv1 "github.com/skein-mesh/skein/proto/gen/skein/router/v1"
)

// gate is a router that holds each batch until it is let go.
type gate struct {
	arrived chan int // gets the size of each batch
	letGo   chan struct{}
}

// open makes the channels, which belong to the bubble of the test.
func (g *gate) open() { g.arrived, g.letGo = make(chan int, 10), make(chan struct{}) }

func (g *gate) fake() *fake {
	return &fake{batch: func(ctx context.Context, req *routerv1.PublishBatchRequest) (*routerv1.PublishBatchResponse, error) {
		g.arrived <- len(req.GetMessages())
		select {
		case <-g.letGo:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		resp := &routerv1.PublishBatchResponse{}
		for _, m := range req.GetMessages() {
			r := &routerv1.PublishResult{Owner: m.GetEvent()}
			if m.GetEvent() == "bad" {
				r = &routerv1.PublishResult{Code: int32(codes.InvalidArgument), Reason: "no"}
			}
			resp.Results = append(resp.Results, r)
		}
		return resp, nil
	}}
}

func TestWhatIsPublishedAtOnceGoesInOneCall(t *testing.T) {
	g := &gate{}
	withFakes(t, map[string]*fake{"a": g.fake()}, func(t *testing.T, n *network) {
		g.open()
		c := n.client(t, client.Options{Batch: true}, "a")
		defer c.Close()
		var publishing sync.WaitGroup
		publish := func(event string) {
			publishing.Go(func() {
				receipt, err := c.Publish(t.Context(), "room:1", event, nil)
				if bad := event == "bad"; bad != (status.Code(err) == codes.InvalidArgument) || !bad && receipt.Owner != event {
					t.Errorf("%s: %v, %v", event, receipt, err)
				}
			})
		}
		publish("first")
		if size := <-g.arrived; size != 1 {
			t.Errorf("the first call has %d messages: it waited", size)
		}
		const more = 1500
		publish("bad")
		for i := range more - 1 {
			publish(fmt.Sprint("e", i))
		}
		synctest.Wait()
		close(g.letGo)
		publishing.Wait()
		if a, b := <-g.arrived, <-g.arrived; a != 1000 || b != 500 || len(g.arrived) != 0 {
			t.Errorf("calls of %d and %d messages, and %d more", a, b, len(g.arrived))
		}
	})
}

func TestWhoStopsWaitingForABatch(t *testing.T) {
	g := &gate{}
	withFakes(t, map[string]*fake{"a": g.fake()}, func(t *testing.T, n *network) {
		g.open()
		c := n.client(t, client.Options{Batch: true}, "a")
		defer c.Close()
		publish := func(timeout time.Duration) chan error {
			done := make(chan error, 1)
			go func() {
				ctx, cancel := context.WithTimeout(t.Context(), timeout)
				defer cancel()
				_, err := c.Publish(ctx, "room:1", "e", nil)
				done <- err
			}()
			return done
		}
		underWay := publish(2 * time.Second)
		<-g.arrived
		waiting := publish(time.Second)
		if err := <-waiting; status.Code(err) != codes.DeadlineExceeded || errors.Is(err, client.ErrUncertain) {
			t.Errorf("it was not sent: %v", err)
		}
		if err := <-underWay; status.Code(err) != codes.DeadlineExceeded || !errors.Is(err, client.ErrUncertain) {
			t.Errorf("it was sent: %v", err)
		}
		close(g.letGo)
		synctest.Wait()
		if len(g.arrived) != 0 {
			t.Error("a message was sent that nobody waits for")
		}
	})
}

func TestCloseEndsWhatIsUnderWay(t *testing.T) {
	g := &gate{}
	withFakes(t, map[string]*fake{"a": g.fake()}, func(t *testing.T, n *network) {
		g.open()
		c := n.client(t, client.Options{Batch: true}, "a")
		done := make(chan error, 1)
		go func() {
			_, err := c.Publish(t.Context(), "room:1", "e", nil)
			done <- err
		}()
		<-g.arrived
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if err := <-done; !errors.Is(err, client.ErrUncertain) {
			t.Error(err)
		}
	})
}
