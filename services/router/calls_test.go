package router_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	meshv1 "github.com/skein-mesh/skein/proto/gen/skein/mesh/v1"
	routerv1 "github.com/skein-mesh/skein/proto/gen/skein/router/v1"
)

// calledEdge starts an edge that notes its calls and answers them as told.
func (f *fleet) calledEdge(id string, answer func(*meshv1.EdgeCall) *meshv1.EdgeAnswer) (*edge, *calls) {
	c := &calls{}
	e := f.start(&edge{hello: &meshv1.Hello{Id: id, Incarnation: 1}, called: func(call *meshv1.EdgeCall) *meshv1.EdgeAnswer {
		c.add(call)
		return answer(call)
	}})
	return e, c
}

// calls are those that an edge got.
type calls struct {
	mu   sync.Mutex
	list []*meshv1.EdgeCall
}

func (c *calls) add(call *meshv1.EdgeCall) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.list = append(c.list, call)
}

func (c *calls) all() []*meshv1.EdgeCall {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]*meshv1.EdgeCall{}, c.list...)
}

func silent(*meshv1.EdgeCall) *meshv1.EdgeAnswer { return nil }

func ended(connections, channels uint64) func(*meshv1.EdgeCall) *meshv1.EdgeAnswer {
	return func(*meshv1.EdgeCall) *meshv1.EdgeAnswer {
		return &meshv1.EdgeAnswer{Answer: &meshv1.EdgeAnswer_Disconnected{
			Disconnected: &meshv1.Disconnected{Connections: connections, Channels: channels},
		}}
	}
}

func polled(*meshv1.EdgeCall) *meshv1.EdgeAnswer {
	return &meshv1.EdgeAnswer{Answer: &meshv1.EdgeAnswer_Poll{Poll: &meshv1.PollResponse{
		Status: 200, Messages: []*meshv1.PollMessage{{Data: []byte("m")}},
	}}}
}

func (n *node) poll(ctx context.Context, edge string) (*meshv1.PollResponse, error) {
	return meshv1.NewMeshServiceClient(n.conn).Poll(ctx, &meshv1.PollRequest{Edge: edge, Session: "s", Mount: "/socket"})
}

func TestDisconnectAsksEveryEdge(t *testing.T) {
	inFleet(t, 2, func(t *testing.T, f *fleet) {
		e1, got1 := f.calledEdge("e1", ended(2, 0))
		e2, got2 := f.calledEdge("e2", ended(1, 3))
		defer e1.stop()
		defer e2.stop()
		f.settle()
		resp, err := f.nodes[1].api.Disconnect(t.Context(), &routerv1.DisconnectRequest{User: "u", Topic: "room:1"})
		want := &routerv1.DisconnectResponse{Connections: 3, Channels: 3, Edges: 2}
		if err != nil || !proto.Equal(resp, want) {
			t.Errorf("got %v, %v", resp, err)
		}
		for _, got := range []*calls{got1, got2} {
			d := got.all()[0].GetDisconnect()
			if len(got.all()) != 1 || d.GetUser() != "u" || d.GetTopic() != "room:1" || d.GetConnection() != nil {
				t.Errorf("calls %v", got.all())
			}
		}
		resp, err = f.nodes[0].api.Disconnect(t.Context(), &routerv1.DisconnectRequest{Connection: &routerv1.Connection{Edge: "e2", Id: 7}})
		if err != nil || resp.GetEdges() != 1 || len(got1.all()) != 1 || got2.all()[1].GetDisconnect().GetConnection().GetId() != 7 {
			t.Errorf("got %v, %v", resp, err)
		}
	})
}

func TestDisconnectNamesTheEdgesThatAreSilent(t *testing.T) {
	inFleet(t, 1, func(t *testing.T, f *fleet) {
		good, _ := f.calledEdge("good", ended(1, 0))
		mute, _ := f.calledEdge("mute", silent)
		old, _ := f.calledEdge("old", func(*meshv1.EdgeCall) *meshv1.EdgeAnswer { return &meshv1.EdgeAnswer{} })
		defer good.stop()
		defer mute.stop()
		defer old.stop()
		f.settle()
		began := time.Now()
		_, err := f.nodes[0].api.Disconnect(t.Context(), &routerv1.DisconnectRequest{User: "u"})
		text := status.Convert(err).Message()
		if status.Code(err) != codes.Unavailable || !strings.Contains(text, "2 of 3 edges did not answer") ||
			!strings.Contains(text, "mute (") || !strings.Contains(text, "old (") || strings.Contains(text, "good") {
			t.Error(err)
		}
		if waited := time.Since(began); waited != 5*time.Second {
			t.Errorf("waited %s", waited)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := f.nodes[0].api.Disconnect(ctx, &routerv1.DisconnectRequest{User: "u"}); status.Code(err) != codes.Unavailable {
			t.Error("a caller with a deadline does not hear who is silent:", err)
		}
	})
}

func TestDisconnectThatMakesNoSense(t *testing.T) {
	inFleet(t, 1, func(t *testing.T, f *fleet) {
		for name, c := range map[string]struct {
			req    *routerv1.DisconnectRequest
			fields string
		}{
			"nothing":   {&routerv1.DisconnectRequest{}, "user"},
			"long user": {&routerv1.DisconnectRequest{User: strings.Repeat("u", 1025)}, "user"},
			"topic":     {&routerv1.DisconnectRequest{User: "u", Topic: "phoenix"}, "topic"},
			"connection": {
				&routerv1.DisconnectRequest{Connection: &routerv1.Connection{}, Topic: strings.Repeat("t", 2000)},
				"topic connection.edge connection.id",
			},
		} {
			_, err := f.nodes[0].api.Disconnect(t.Context(), c.req)
			var fields []string
			for _, d := range status.Convert(err).Details() {
				if bad, ok := d.(*errdetails.BadRequest); ok {
					for _, v := range bad.GetFieldViolations() {
						fields = append(fields, v.GetField())
					}
				}
			}
			if status.Code(err) != codes.InvalidArgument || strings.Join(fields, " ") != c.fields {
				t.Errorf("%s: %v, fields %q", name, err, fields)
			}
		}
		_, err := f.nodes[0].api.Disconnect(t.Context(), &routerv1.DisconnectRequest{Connection: &routerv1.Connection{Edge: "e9", Id: 1}})
		if status.Code(err) != codes.NotFound {
			t.Error(err)
		}
	})
}

func TestPollIsPassedOn(t *testing.T) {
	inFleet(t, 2, func(t *testing.T, f *fleet) {
		e, got := f.calledEdge("e1", polled)
		defer e.stop()
		f.settle()
		for _, n := range f.nodes {
			resp, err := n.poll(t.Context(), "e1")
			if err != nil || resp.GetStatus() != 200 || string(resp.GetMessages()[0].GetData()) != "m" {
				t.Errorf("got %v, %v", resp, err)
			}
		}
		if p := got.all()[0].GetPoll(); p.GetEdge() != "e1" || p.GetSession() != "s" || p.GetMount() != "/socket" {
			t.Errorf("passed on %v", p)
		}
		if _, err := f.nodes[0].poll(t.Context(), "e2"); status.Code(err) != codes.NotFound {
			t.Error(err)
		}
		if _, err := f.nodes[0].poll(t.Context(), ""); status.Code(err) != codes.InvalidArgument {
			t.Error(err)
		}
	})
}

func TestAnEdgeThatIsLostEndsItsCalls(t *testing.T) {
	inFleet(t, 1, func(t *testing.T, f *fleet) {
		e, _ := f.calledEdge("e1", silent)
		f.settle()
		time.AfterFunc(time.Second, e.cancel)
		began := time.Now()
		_, err := f.nodes[0].poll(t.Context(), "e1")
		if status.Code(err) != codes.Aborted || time.Since(began) != time.Second {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
		e.stop()
	})
}

func TestACallerThatIsGoneCancelsItsPoll(t *testing.T) {
	inFleet(t, 1, func(t *testing.T, f *fleet) {
		e, got := f.calledEdge("e1", silent)
		defer e.stop()
		f.settle()
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if _, err := f.nodes[0].poll(ctx, "e1"); status.Code(err) != codes.Canceled {
			t.Error(err)
		}
		time.Sleep(time.Second) // virtual time
		all := got.all()
		if len(all) != 2 || !all[1].GetCancel() || all[1].GetSeq() != all[0].GetSeq() {
			t.Errorf("calls %v", all)
		}
	})
}

// A router that leaves loses nobody's messages: it asks for the answers that
// wait, and passes nothing on any more.
func TestARouterThatLeavesEndsPolls(t *testing.T) {
	inFleet(t, 2, func(t *testing.T, f *fleet) {
		waits := make(chan struct{})
		e, got := f.calledEdge("e1", silent)
		defer e.stop()
		f.settle()
		leaver := f.nodes[0]
		e.mu.Lock()
		e.called = func(call *meshv1.EdgeCall) *meshv1.EdgeAnswer {
			got.add(call)
			if call.GetCancel() {
				return polled(call)
			}
			close(waits)
			return nil
		}
		e.mu.Unlock()
		answered := make(chan error, 1)
		go func() {
			resp, err := leaver.poll(t.Context(), "e1")
			if err == nil && resp.GetStatus() != 200 {
				err = status.Errorf(codes.Unknown, "status %d", resp.GetStatus())
			}
			answered <- err
		}()
		<-waits
		leaver.cancel()
		if err := <-answered; err != nil {
			t.Error(err)
		}
		synctest.Wait()
		_, err := leaver.poll(t.Context(), "e1")
		info := ""
		for _, d := range status.Convert(err).Details() {
			if i, ok := d.(*errdetails.ErrorInfo); ok {
				info = i.GetReason()
			}
		}
		if status.Code(err) != codes.Unavailable || info != "LEAVING" {
			t.Errorf("%v, reason %q", err, info)
		}
		f.stop(leaver)
	})
}
