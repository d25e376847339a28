package rpc

import (
	"context"

	"google.golang.org/grpc"

	"github.com/skein-mesh/skein/pkg/queue"
	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
)

// watcher is a backend that watches a topic. It implements [people.Sink].
type watcher struct {
	out  *queue.Queue[*presencev1.PeopleServiceWatchResponse]
	full chan struct{} // capacity one: something did not fit
}

func newWatcher(queueBytes int) *watcher {
	cost := func(r *presencev1.PeopleServiceWatchResponse) int {
		return changeBytes + personBytes*(len(r.GetJoins())+len(r.GetLeaves()))
	}
	return &watcher{queue.New(queueBytes, cost), make(chan struct{}, 1)}
}

// Tell implements [people.Sink].
func (w *watcher) Tell(r *presencev1.PeopleServiceWatchResponse) {
	if w.out.Push(r) != nil {
		select {
		case w.full <- struct{}{}:
		default:
		}
	}
}

// send sends what a watcher is told until ctx ends or the topic is another
// instance's.
func (s peopleServer) send(
	ctx context.Context, topic string, w *watcher, stream grpc.ServerStreamingServer[presencev1.PeopleServiceWatchResponse],
) error {
	var batch []*presencev1.PeopleServiceWatchResponse
	for {
		changed := s.peers.look()
		if _, moved := s.peers.owner(topic); moved {
			return errMoved
		}
		select {
		case <-ctx.Done():
			return ending(ctx, context.Cause(ctx))
		case <-w.full:
			s.metrics.cutOff(ctx, cutBackend)
			return errSlow
		case <-changed:
		case <-w.out.Ready():
			batch = w.out.Take(batch)
			for _, r := range batch {
				if err := stream.Send(r); err != nil {
					return err
				}
			}
		}
	}
}

// relay watches at the instance that owns the topic.
func relay(
	ctx context.Context, owner presencev1.PeopleServiceClient, topic string,
	stream grpc.ServerStreamingServer[presencev1.PeopleServiceWatchResponse],
) error {
	from, err := owner.Watch(ctx, &presencev1.PeopleServiceWatchRequest{Topic: topic, Local: true})
	if err != nil {
		return err
	}
	for {
		r, err := from.Recv()
		if err != nil {
			return ending(ctx, err)
		}
		if err := stream.Send(r); err != nil {
			return err
		}
	}
}
