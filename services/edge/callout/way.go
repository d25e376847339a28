package callout

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Router returns a way to a router for other unary calls, or false if none is
// known. It may be kept as long as one call takes.
func (c *Callout) Router() (grpc.ClientConnInterface, bool) {
	for _, m := range c.routers.candidates("") {
		return routerConn{c.routers, m.Address}, true
	}
	return nil, false
}

// routerConn makes unary calls at one router.
type routerConn struct {
	routers *routers
	address string
}

// Invoke implements [grpc.ClientConnInterface].
func (r routerConn) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	w, err := r.routers.take(r.address)
	if err != nil {
		return err
	}
	defer r.routers.release(w)
	return w.conn.Invoke(ctx, method, args, reply, opts...)
}

// NewStream implements [grpc.ClientConnInterface].
func (r routerConn) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	return nil, status.Error(codes.Unimplemented, "only unary calls are made this way")
}
