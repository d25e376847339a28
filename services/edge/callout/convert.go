package callout

import (
	"strings"

	handlerv1 "github.com/skein-mesh/skein/proto/gen/skein/handler/v1"
	"github.com/skein-mesh/skein/services/edge/session"
)

// clean is text of a client as protobuf takes it, which is UTF-8 only: without
// it one odd header would fail a call as if the backend had crashed.
func clean(text string) string { return strings.ToValidUTF8(text, "\uFFFD") }

func (c *Callout) socket(connection uint64) *handlerv1.Socket {
	return &handlerv1.Socket{Edge: c.cfg.Edge, Id: connection}
}

func (c *Callout) caller(who session.Caller) *handlerv1.Caller {
	return &handlerv1.Caller{
		Socket: c.socket(who.Connection), Topic: clean(who.Topic), JoinRef: clean(who.JoinRef),
		User: clean(who.User), Claims: who.Claims, Assigns: who.Assigns,
	}
}

func payloadTo(p session.Payload) *handlerv1.Payload {
	if p.Binary {
		return &handlerv1.Payload{Kind: &handlerv1.Payload_Binary{Binary: p.Data}}
	}
	return &handlerv1.Payload{Kind: &handlerv1.Payload_Json{Json: p.Data}}
}

// payloadFrom reads an unset payload as an empty object.
func payloadFrom(p *handlerv1.Payload) session.Payload {
	switch kind := p.GetKind().(type) {
	case *handlerv1.Payload_Json:
		return session.Payload{Data: kind.Json}
	case *handlerv1.Payload_Binary:
		return session.Payload{Data: kind.Binary, Binary: true}
	}
	return session.Payload{Data: []byte("{}")}
}

func joinAnswer(resp *handlerv1.JoinResponse) session.JoinAnswer {
	status := statusOK
	if resp.GetRefused() {
		status = statusError
	}
	return session.JoinAnswer{
		Refused: resp.GetRefused(), Reply: session.Reply{Status: status, Payload: payloadFrom(resp.GetReply())},
		Assigns: some(resp.GetAssigns()), Pushes: events(resp.GetPushes()), Presence: person(resp.GetPresence()),
	}
}

// Statuses of replies.
const (
	statusOK    = "ok"
	statusError = "error"
)

func pushAnswer(resp *handlerv1.PushResponse) session.PushAnswer {
	a := session.PushAnswer{
		Assigns: some(resp.GetAssigns()), Pushes: events(resp.GetPushes()),
		Stop: resp.GetStop(), Presence: person(resp.GetTrack()), Untrack: resp.GetUntrack(),
	}
	if r := resp.GetReply(); r != nil {
		a.Reply = &session.Reply{Status: r.GetStatus(), Payload: payloadFrom(r.GetResponse())}
		if a.Reply.Status == "" {
			a.Reply.Status = statusOK
		}
	}
	for _, b := range resp.GetBroadcasts() {
		a.Broadcasts = append(a.Broadcasts, session.Broadcast{Topic: b.GetTopic(), Event: event(b.GetEvent()), NotSender: b.GetNotSender()})
	}
	return a
}

// some is text, or nil for none.
func some(text []byte) []byte {
	if len(text) == 0 {
		return nil
	}
	return text
}

func event(e *handlerv1.Event) session.Event {
	return session.Event{Name: e.GetName(), Payload: payloadFrom(e.GetPayload())}
}

func events(all []*handlerv1.Event) []session.Event {
	var converted []session.Event
	for _, e := range all {
		converted = append(converted, event(e))
	}
	return converted
}

func person(p *handlerv1.Person) *session.Person {
	if p == nil {
		return nil
	}
	return &session.Person{Key: p.GetKey(), Meta: some(p.GetMeta())}
}

func reasonOf(r session.LeaveReason) handlerv1.LeaveReason {
	switch r {
	case session.LeftByClient:
		return handlerv1.LeaveReason_LEAVE_REASON_CLIENT
	case session.LeftClosed:
		return handlerv1.LeaveReason_LEAVE_REASON_CLOSED
	case session.LeftReplaced:
		return handlerv1.LeaveReason_LEAVE_REASON_REPLACED
	case session.LeftCrashed:
		return handlerv1.LeaveReason_LEAVE_REASON_CRASHED
	case session.LeftStopped:
		return handlerv1.LeaveReason_LEAVE_REASON_STOPPED
	case session.LeftKicked:
		return handlerv1.LeaveReason_LEAVE_REASON_KICKED
	case session.LeftExpired:
		return handlerv1.LeaveReason_LEAVE_REASON_EXPIRED
	case session.LeftLost:
		return handlerv1.LeaveReason_LEAVE_REASON_LOST
	}
	return handlerv1.LeaveReason_LEAVE_REASON_UNSPECIFIED
}
