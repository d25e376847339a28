package edge

import (
	"context"

	meshv1 "github.com/skein-mesh/skein/proto/gen/skein/mesh/v1"
)

// calls are what routers ask of this edge.
type calls struct{ *Edge }

// Call implements [uplink.Calls].
func (c calls) Call(ctx context.Context, call *meshv1.EdgeCall) *meshv1.EdgeAnswer {
	switch {
	case call.GetDisconnect() != nil:
		return &meshv1.EdgeAnswer{Answer: &meshv1.EdgeAnswer_Disconnected{Disconnected: c.disconnect(call.GetDisconnect())}}
	case call.GetPoll() != nil:
		return &meshv1.EdgeAnswer{Answer: &meshv1.EdgeAnswer_Poll{Poll: c.poll(ctx, call.GetPoll())}}
	case call.GetInspect() != nil:
		return &meshv1.EdgeAnswer{Answer: &meshv1.EdgeAnswer_Inspected{Inspected: c.inspect(call.GetInspect())}}
	case call.GetDescribe():
		return &meshv1.EdgeAnswer{Answer: &meshv1.EdgeAnswer_Node{Node: c.node.Describe()}}
	case call.GetSetLogLevel() != nil:
		level, err := c.node.SetLogLevel(ctx, call.GetSetLogLevel())
		if err != nil { // of a router that allows more: nothing changed
			level = c.node.LogLevel()
		}
		return &meshv1.EdgeAnswer{Answer: &meshv1.EdgeAnswer_LogLevel{LogLevel: level}}
	case call.GetSetSampling() != nil:
		set := &meshv1.SamplingSet{}
		var err error
		if set.Sampling, err = c.node.SetSampling(ctx, call.GetSetSampling()); err != nil {
			set.Refused = err.Error()
		}
		return &meshv1.EdgeAnswer{Answer: &meshv1.EdgeAnswer_SamplingSet{SamplingSet: set}}
	default: // a later version knows more
		return nil
	}
}

// poll hands a request to the mount whose session it is about.
func (e *Edge) poll(ctx context.Context, req *meshv1.PollRequest) *meshv1.PollResponse {
	for _, m := range e.places {
		if m.polls != nil && m.Path == req.GetMount() {
			return m.polls.Poll(ctx, req)
		}
	}
	return &meshv1.PollResponse{Status: sessionGone}
}

// sessionGone is what a long-poll client is told of a session that is not here.
const sessionGone = 410

// disconnect ends what matches every field that is set. It walks over all
// sessions: an index of users would cost every socket memory for a call that is
// rare.
func (e *Edge) disconnect(what *meshv1.Disconnect) *meshv1.Disconnected {
	result := &meshv1.Disconnected{}
	c := what.GetConnection()
	switch {
	case c == nil && what.GetUser() == "" && what.GetTopic() == "": // everybody is never meant
		return result
	case c != nil && c.GetEdge() != e.cfg.ID:
		return result
	}
	for id, s := range e.sessions {
		if c != nil && c.GetId() != id {
			continue
		}
		closed, channels := s.Disconnect(what.GetUser(), what.GetTopic())
		if closed {
			result.Connections++
		}
		result.Channels += uint64(max(channels, 0))
	}
	return result
}
