package client

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"

	routerv1 "github.com/skein-mesh/skein/proto/gen/skein/router/v1"
)

// ErrUncertain is wrapped by the errors of calls that may have been carried out
// all the same. Other errors mean that nothing was done. The gRPC status of
// either is there for [status.Code].
var ErrUncertain = errors.New("it may have been carried out all the same")

// Pauses between attempts, doubled each time, of which each takes a random part.
const (
	firstPause = 50 * time.Millisecond
	maxPause   = 2 * time.Second
)

// call makes one call at the router in use and, while that fails and it was not
// carried out, at the others in turn, until ctx ends. With repeat it goes on even
// if it may have been.
func (c *Client) call(ctx context.Context, repeat bool, f func(context.Context, routerv1.RouterServiceClient) error) error {
	for tries := 1; ; tries++ {
		current := c.current.Load()
		a := &attempt{}
		err := f(context.WithValue(ctx, attemptKey{}, a), c.router(current).api)
		if err == nil {
			return nil
		}
		done := a.sent.Load() && uncertain(err)
		switch {
		case ctx.Err() != nil || status.Code(err) != codes.Unavailable:
			return conclude(err, done)
		case done && !repeat:
			c.failover(current)
			return conclude(err, done)
		}
		c.failover(current)
		// After a round of routers that all failed there is nothing to hurry for.
		if tries%len(c.routers) == 0 && !pause(ctx, tries/len(c.routers)) {
			return conclude(err, done)
		}
	}
}

func (c *Client) router(current uint64) router {
	return c.routers[current%uint64(len(c.routers))]
}

// failover goes to the next router, unless somebody did already.
func (c *Client) failover(from uint64) { c.current.CompareAndSwap(from, from+1) }

// bounded gives a call without deadline one.
func (c *Client) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, set := ctx.Deadline(); set {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, c.options.Timeout)
}

func conclude(err error, uncertain bool) error {
	if uncertain {
		return fmt.Errorf("%w (%w)", err, ErrUncertain)
	}
	return err
}

// uncertain reports whether a call that was sent and failed with err may have
// been carried out.
func uncertain(err error) bool {
	switch status.Code(err) { //nolint:exhaustive // the others are answers
	case codes.Unavailable:
		return !leaving(err)
	case codes.Canceled, codes.DeadlineExceeded, codes.Unknown, codes.Internal, codes.Aborted, codes.DataLoss:
		return true
	}
	return false
}

// leaving reports whether a router sends its callers to the others, without
// having done anything.
func leaving(err error) bool {
	return slices.ContainsFunc(status.Convert(err).Details(), func(d any) bool {
		info, ok := d.(*errdetails.ErrorInfo)
		return ok && info.GetDomain() == "skein" && info.GetReason() == "LEAVING"
	})
}

// pause waits before another attempt, the longer the more there were; false
// means that ctx ended first.
func pause(ctx context.Context, times int) bool {
	longest := min(firstPause<<min(times, 10), maxPause)
	timer := time.NewTimer(longest/2 + rand.N(longest/2)) //nolint:gosec // keeps clients apart
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// attempt is one call at one router.
type attempt struct{ sent atomic.Bool }

type attemptKey struct{}

// sentWatcher tells an attempt that its call was handed to a connection: before
// that, it cannot have been carried out. It implements [stats.Handler].
type sentWatcher struct{}

// HandleRPC implements [stats.Handler].
func (sentWatcher) HandleRPC(ctx context.Context, s stats.RPCStats) {
	if _, ok := s.(*stats.OutHeader); !ok {
		return
	}
	if a, ok := ctx.Value(attemptKey{}).(*attempt); ok {
		a.sent.Store(true)
	}
}

// TagRPC implements [stats.Handler].
func (sentWatcher) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }

// TagConn implements [stats.Handler].
func (sentWatcher) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

// HandleConn implements [stats.Handler].
func (sentWatcher) HandleConn(context.Context, stats.ConnStats) {}
