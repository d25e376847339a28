// Package pump moves messages between queues and bidirectional gRPC streams.
//
// gRPC allows one sender and one receiver per stream. Here the calling
// goroutine is the only sender and one child the only receiver. They never wait
// for each other: two peers that each stop receiving in order to send would
// deadlock on flow control.
//
// The sender packs everything that waits into one message (natural batching):
// nothing is added to the latency of a quiet stream, and a busy one sends few,
// large messages, a millisecond or two apart. Both ends send a beat each [BeatInterval]; a stream on which
// nothing was received for [Silence] is broken, whatever TCP believes.
package pump

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"github.com/skein-mesh/skein/pkg/queue"
)

// Liveness of a stream: grpc-go clamps its own client keepalive to 10 s, which
// is too slow to notice a frozen peer.
const (
	BeatInterval = time.Second
	Silence      = 3 * time.Second
)

// Bounds of one packed message. gRPC's own limit must exceed MaxBatchBytes plus
// one largest item.
const (
	MaxBatchItems = 256
	MaxBatchBytes = 256 << 10
)

// ErrSilent ends a stream whose peer has not been heard for [Silence].
var ErrSilent = errors.New("pump: peer is silent")

// Stream says what one end of a stream sends and what it does with what it
// receives. Item is what the queue holds, Out what goes on the wire, In what
// comes from it.
type Stream[Item, Out, In any] struct {
	First  *Out               // sent before everything else, nil for nothing
	Queue  *queue.Queue[Item] // what is to be sent
	Size   func(Item) int     // size of an item on the wire in bytes, roughly
	Pack   func([]Item) *Out  // packs items, in order, into one message; must not keep the slice
	Beat   func() *Out        // a message that only says "alive"
	Handle func(*In) error    // called by the receiver, one at a time; an error ends the stream
	Linger bool               // while busy, wait a moment for company before sending
}

// Client opens a stream and runs it until ctx ends, the stream breaks or Handle
// fails. Both directions have stopped when it returns. Callers retry.
func (s Stream[Item, Out, In]) Client(
	ctx context.Context,
	open func(context.Context, ...grpc.CallOption) (grpc.BidiStreamingClient[Out, In], error),
) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// Opening waits for the connection, which may never come.
	opening := time.AfterFunc(Silence, func() { cancel(ErrSilent) })
	stream, err := open(ctx)
	if !opening.Stop() || err != nil {
		return errors.Join(err, context.Cause(ctx))
	}
	received := receive(stream.Recv, s.Handle)
	// A sender blocked by flow control cannot look at the clock itself.
	watch := watchdog(received, func() { cancel(ErrSilent) })
	defer watch.stop()
	err = s.send(ctx, stream.Send, received)
	cancel(nil) // frees a receiver blocked in Recv
	<-received.done
	return err
}

// Server runs an accepted stream until its context or ctx ends, the stream
// breaks or Handle fails. Its receiver ends when the RPC handler returns, so
// Handle must tolerate one late call. A sender blocked by flow control is freed
// by the server's keepalive, which the owner of the server must set.
func (s Stream[Item, Out, In]) Server(ctx context.Context, stream grpc.BidiStreamingServer[In, Out]) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(stream.Context(), func() { cancel(context.Cause(stream.Context())) })()
	received := receive(stream.Recv, s.Handle)
	watch := watchdog(received, func() { cancel(ErrSilent) })
	defer watch.stop()
	return s.send(ctx, stream.Send, received)
}

func (s Stream[Item, Out, In]) send(ctx context.Context, send func(*Out) error, received *receiver) error {
	beat := time.NewTicker(BeatInterval)
	defer beat.Stop()
	failed := func() error { // Send reports only io.EOF; Recv has the reason
		select {
		case <-received.done:
			return received.reason(ctx)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	if s.First != nil {
		if send(s.First) != nil {
			return failed()
		}
	}
	var items []Item
	var pace linger
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-received.done:
			return received.reason(ctx)
		case <-beat.C:
			if send(s.Beat()) != nil {
				return failed()
			}
			continue
		case <-s.Queue.Ready():
		}
		if s.Linger {
			if err := pace.pause(ctx, received); err != nil {
				return err
			}
		}
		items = s.Queue.Take(items)
		for rest := items; len(rest) > 0; {
			n := s.chunk(rest)
			if send(s.Pack(rest[:n])) != nil {
				return failed()
			}
			rest = rest[n:]
		}
		if s.Linger {
			pace.sent(time.Now(), len(items))
		}
	}
}

// chunk says how many of the leading items fit one message: at least one.
func (s Stream[Item, Out, In]) chunk(items []Item) int {
	total := 0
	for i, it := range items {
		total += s.Size(it)
		if i == MaxBatchItems || i > 0 && total > MaxBatchBytes {
			return i
		}
	}
	return len(items)
}

type receiver struct {
	done  chan struct{}
	err   error        // valid once done is closed; nil if the peer closed cleanly
	heard atomic.Int64 // messages received so far
}

// reason is why the stream of a receiver that is done ended: because ctx did, if
// it did, since then Recv only reports that.
func (r *receiver) reason(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return r.err
}

func receive[M any](recv func() (*M, error), handle func(*M) error) *receiver {
	r := &receiver{done: make(chan struct{})}
	go func() {
		defer close(r.done)
		for {
			m, err := recv()
			r.heard.Add(1)
			if err == nil {
				err = handle(m)
			}
			if err != nil {
				if !errors.Is(err, io.EOF) {
					r.err = err
				}
				return
			}
		}
	}()
	return r
}

// dog calls bark when a receiver heard nothing for [Silence], looked at each
// [BeatInterval].
type dog struct {
	timer *time.Timer
	done  atomic.Bool
}

func watchdog(r *receiver, bark func()) *dog {
	d := &dog{}
	seen, quiet := r.heard.Load(), time.Duration(0)
	ready := make(chan struct{})
	d.timer = time.AfterFunc(BeatInterval, func() {
		<-ready // d.timer is assigned
		if d.done.Load() {
			return
		}
		if heard := r.heard.Load(); heard != seen {
			seen, quiet = heard, 0
		} else if quiet += BeatInterval; quiet >= Silence {
			bark()
			return
		}
		d.timer.Reset(BeatInterval)
	})
	close(ready)
	return d
}

func (d *dog) stop() {
	d.done.Store(true)
	d.timer.Stop()
}
