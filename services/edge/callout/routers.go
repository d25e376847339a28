package callout

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/skein-mesh/skein/pkg/cluster"
	handlerv1 "github.com/skein-mesh/skein/proto/gen/skein/handler/v1"
)

type client = handlerv1.ChannelHandlerClient

// method is one of a client.
type method[Req, Resp any] func(client, context.Context, *Req, ...grpc.CallOption) (*Resp, error)

// attempts is at how many routers a call is tried.
const attempts = 2

// ask makes a call at the owner of a topic, or without a topic at any router,
// and at one other if the first certainly did not pass it on to the backend. It
// waits for a router to be known: an edge that has just started hears of them in
// a moment.
func ask[Req, Resp any](ctx context.Context, r *routers, topic string, req *Req, call method[Req, Resp]) (*Resp, error) {
	err := status.Error(codes.Unavailable, "no router is known")
	for _, m := range r.await(ctx, topic) {
		var resp *Resp
		var passed bool
		if resp, passed, err = askOne(ctx, r, m.Address, req, call); err == nil || passed {
			return resp, err
		}
	}
	return nil, err
}

// askOne makes a call at one router. passed is false if the backend certainly
// does not know of it.
func askOne[Req, Resp any](ctx context.Context, r *routers, address string, req *Req, call method[Req, Resp]) (resp *Resp, passed bool, err error) {
	w, err := r.take(address)
	if err != nil {
		return nil, false, err
	}
	defer r.release(w)
	var p peer.Peer
	resp, err = call(handlerv1.NewChannelHandlerClient(w.conn), ctx, req, grpc.Peer(&p))
	switch status.Code(err) { //nolint:exhaustive // with any other code it may know
	case codes.Unavailable:
		return resp, p.Addr != nil, err // without a peer it never left
	case codes.FailedPrecondition, codes.Unimplemented:
		return resp, false, err // the router has other namespaces, or is older than handlers
	}
	return resp, true, err
}

// routers are the connections to routers.
type routers struct {
	// Static after construction.
	source Routers
	dial   func(address string) (*grpc.ClientConn, error)

	turn atomic.Uint64

	mu     sync.Mutex // guards the fields below
	ways   map[string]*way
	closed bool
}

// way is a connection to one router. routers' mu guards its fields.
type way struct {
	conn  *grpc.ClientConn
	calls int  // under way
	gone  bool // to be closed with the last of them
}

func newRouters(source Routers, dial func(address string) (*grpc.ClientConn, error)) *routers {
	return &routers{source: source, dial: dial, ways: map[string]*way{}}
}

// lookInterval is how often a call looks for a router while none is known.
const lookInterval = 50 * time.Millisecond

// await returns the candidates as soon as there are any, or nothing when ctx
// ends.
func (r *routers) await(ctx context.Context, topic string) []cluster.Member {
	for {
		if known := r.candidates(topic); len(known) > 0 {
			return known
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(lookInterval):
		}
	}
}

// candidates returns the routers to ask about a topic, best first.
func (r *routers) candidates(topic string) []cluster.Member {
	all := r.source.Routers()
	ready := slices.DeleteFunc(slices.Clone(all), func(m cluster.Member) bool { return m.State != cluster.StateReady })
	if len(ready) == 0 {
		ready = all
	}
	if len(ready) == 0 {
		return nil
	}
	first := int(r.turn.Add(1) % uint64(len(ready))) //nolint:gosec // less than a length
	ordered := slices.Concat(ready[first:], ready[:first])
	if topic != "" {
		owner := r.source.Owner(topic)
		if i := slices.IndexFunc(all, func(m cluster.Member) bool { return m.ID == owner }); i >= 0 {
			ordered = slices.DeleteFunc(ordered, func(m cluster.Member) bool { return m.ID == owner })
			ordered = slices.Insert(ordered, 0, all[i])
		}
	}
	return ordered[:min(attempts, len(ordered))]
}

// take returns the way to an address, for one call that release ends.
func (r *routers) take(address string) (*way, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, status.Error(codes.Unavailable, "this edge is stopping")
	}
	w := r.ways[address]
	if w == nil {
		conn, err := r.dial(address)
		if err != nil {
			return nil, status.Errorf(codes.Unavailable, "router: %v", err)
		}
		w = &way{conn: conn}
		r.ways[address] = w
	}
	w.calls++
	return w, nil
}

func (r *routers) release(w *way) {
	r.mu.Lock()
	w.calls--
	over := w.gone && w.calls == 0
	r.mu.Unlock()
	if over {
		_ = w.conn.Close() // it has nothing to flush
	}
}

// sweep gives up the ways to routers that are not known any more.
func (r *routers) sweep() {
	known := map[string]bool{}
	for _, m := range r.source.Routers() {
		known[m.Address] = true
	}
	r.giveUp(func(address string) bool { return !known[address] }, false)
}

// close gives up all ways, for ever.
func (r *routers) close() {
	r.giveUp(func(string) bool { return true }, true)
}

// giveUp closes the ways that match: at once, or with their last call.
func (r *routers) giveUp(match func(address string) bool, forEver bool) {
	r.mu.Lock()
	r.closed = r.closed || forEver
	var idle []*way
	for address, w := range r.ways {
		if !match(address) {
			continue
		}
		delete(r.ways, address)
		w.gone = true
		if w.calls == 0 {
			idle = append(idle, w)
		}
	}
	r.mu.Unlock()
	for _, w := range idle {
		_ = w.conn.Close() // it has nothing to flush
	}
}
