package session

import (
	"bytes"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/skein-mesh/skein/pkg/channel"
	"github.com/skein-mesh/skein/pkg/phx"
	"github.com/skein-mesh/skein/pkg/wsframe"
)

// question is a push on its way to a handler.
type question struct {
	event      string
	ref, topic phx.Term
	payload    Payload
	size       int32 // bytes that count as waiting
	span       span
}

// ask puts a push into the channel's mailbox, from where the handler gets it.
func (s *Session) ask(c *Channel, event string, m phx.Message) {
	q := question{event: event, ref: m.Ref, topic: m.Topic, payload: Payload{bytes.Clone(m.Payload), m.Binary}}
	q.span = s.begin(c.topic, spanPush)
	q.size = int32(len(m.Payload) + len(event) + len(m.Ref) + len(m.Topic)) //nolint:gosec // of one frame
	s.shared.counts.add(pushed)
	s.unanswered.Add(1)
	s.waiting.Add(q.size)
	c.extra.mailbox.add(func() { c.ask(q) })
	s.throttle()
}

func (c *Channel) ask(q question) {
	if c.state.Load() == gone || c.extra.hurried.Load() {
		c.session.shared.counts.add(unreplied)
		c.asked(q, errClosed)
		return
	}
	who := c.caller()
	who.Trace = q.span.context
	c.session.shared.Backend.Push(c.ns, who, q.event, plain(q.ref), q.payload, func(a PushAnswer, err error) {
		c.answer(q, a, err)
	})
}

// asked ends a question; failed is why it has no answer, or nil.
func (c *Channel) asked(q question, failed error) {
	q.span.ends(failed)
	c.session.answered(q.size)
	c.extra.mailbox.done()
}

// answer does what a handler wants done. What is for others is done even if the
// channel ended meanwhile.
func (c *Channel) answer(q question, a PushAnswer, err error) {
	if errors.Is(err, channel.ErrCrashed) {
		c.crash(q.topic)
		c.asked(q, err)
		return
	}
	if err != nil {
		c.session.shared.counts.add(pushFailed)
		c.send(c.version().Refusal(c.ref, q.ref, q.topic, reason(err)))
		c.asked(q, err)
		return
	}
	e, err := c.encodePushAnswer(q, a)
	if err != nil { // rubbish, or opaque bytes for a client of version 1
		c.crash(q.topic)
		c.asked(q, err)
		return
	}
	if a.Assigns != nil {
		c.extra.assigns = a.Assigns
	}
	c.session.shared.Hub.IfSeated(c.topic, c, func() {
		c.settle(a)
		c.post(e.pushes)
	})
	c.broadcast(e.broadcasts, func() {
		c.reply(e.reply)
		if a.Stop && c.end(LeftStopped, c.version().Close(c.joinRef(), q.topic)) {
			c.session.shared.counts.add(stopped)
		}
		c.asked(q, nil)
	})
}

// reply sends the reply, if there is one.
func (c *Channel) reply(frames []wsframe.Frame) {
	if len(frames) > 0 && !c.send(frames...) {
		c.session.shared.counts.add(unreplied)
	}
}

// settle changes who the channel is. The hub holds it meanwhile.
func (c *Channel) settle(a PushAnswer) {
	switch {
	case !c.extra.entered.Load():
	case a.Untrack:
		c.session.shared.People.Untrack(c.topic, c)
	case a.Presence != nil:
		c.session.shared.People.Track(c.topic, c, *a.Presence)
	}
}

// broadcast publishes all and then calls done, so that what this client gets of
// them it has got.
func (c *Channel) broadcast(all []channel.Broadcast, done func()) {
	if len(all) == 0 {
		done()
		return
	}
	var left atomic.Int32
	left.Store(int32(len(all))) //nolint:gosec // of one answer
	for _, b := range all {
		c.session.shared.Mesh.Publish(b, func(err error) {
			if err != nil {
				c.session.shared.counts.add(broadcastFailed)
			}
			if left.Add(-1) == 0 {
				done()
			}
		})
	}
}

// effects are what an answer becomes.
type effects struct {
	pushes     []wsframe.Frame
	broadcasts []channel.Broadcast
	reply      []wsframe.Frame // at most one
}

// encodePushAnswer checks an answer as a whole: nothing is done of one that
// makes no sense.
func (c *Channel) encodePushAnswer(q question, a PushAnswer) (effects, error) {
	var e effects
	err := a.Presence.validate()
	if err != nil {
		return e, err
	}
	if e.pushes, err = c.encodePushes(a.Pushes); err != nil {
		return e, err
	}
	for _, from := range a.Broadcasts {
		b := channel.Broadcast{Topic: from.Topic, Event: from.Event.Name, Binary: from.Event.Binary, Trace: q.span.context}
		if b.Topic == "" {
			b.Topic = c.topic
		}
		if from.NotSender {
			b.Except = c.session.connection()
		}
		if b.Payload, err = from.Event.payload(); err == nil {
			err = b.Validate()
		}
		if err != nil {
			return e, fmt.Errorf("broadcast: %w", err)
		}
		e.broadcasts = append(e.broadcasts, b)
	}
	if a.Reply != nil {
		frame, err := c.encodeReply(c.ref, q.ref, q.topic, *a.Reply)
		if err != nil {
			return e, err
		}
		e.reply = []wsframe.Frame{frame}
	}
	return e, nil
}

func (c *Channel) encodePushes(events []Event) ([]wsframe.Frame, error) {
	var frames []wsframe.Frame
	for _, e := range events {
		payload, err := e.payload()
		if err == nil {
			err = channel.ValidateEvent(e.Name)
		}
		if err != nil {
			return nil, fmt.Errorf("push: %w", err)
		}
		f, err := c.version().Push(phx.Push{
			JoinRef: c.ref, Topic: phx.Text(c.topic), Event: e.Name, Payload: payload, Binary: e.Binary,
		})
		if err != nil {
			return nil, fmt.Errorf("push: %w", err)
		}
		frames = append(frames, f)
	}
	return frames, nil
}

func (c *Channel) encodeReply(joinRef, ref, topic phx.Term, r Reply) (wsframe.Frame, error) {
	payload, err := r.payload()
	if err != nil {
		return wsframe.Frame{}, fmt.Errorf("reply: %w", err)
	}
	if r.Status == "" {
		r.Status = phx.StatusOK
	}
	f, err := c.version().Reply(phx.Reply{
		JoinRef: joinRef, Ref: ref, Topic: topic, Status: r.Status, Response: payload, Binary: r.Binary,
	})
	if err != nil {
		return wsframe.Frame{}, fmt.Errorf("reply: %w", err)
	}
	return f, nil
}

// validate reports whether p, which may be nil, can be told to clients.
func (p *Person) validate() error {
	switch {
	case p == nil:
		return nil
	case p.Key == "":
		return errNobody
	case len(p.Meta) > 0 && !phx.Valid(p.Meta):
		return fmt.Errorf("presence: %w", errNotJSON)
	}
	return nil
}

var errNobody = errors.New("presence has no key")

var errNotJSON = errors.New("payload is not JSON")

// payload is what a handler gave, checked: clients get it as it is.
func (p Payload) payload() ([]byte, error) {
	switch {
	case p.Binary:
		return p.Data, nil
	case p.Data == nil:
		return []byte("{}"), nil
	case !phx.Valid(p.Data):
		return nil, errNotJSON
	}
	return p.Data, nil
}

// caller is the channel as its handler knows it.
func (c *Channel) caller() Caller {
	caller := Caller{
		Connection: c.Connection, Topic: c.topic, JoinRef: plain(c.joinRef()), User: c.user(), Assigns: c.extra.assigns,
	}
	if g := c.extra.grant.Load(); g != nil {
		caller.Claims = g.Claims
	}
	if caller.Assigns == nil {
		caller.Assigns = c.session.assigns()
	}
	return caller
}

// plain is a ref as handlers see it: the text of a string, nothing for null,
// and else JSON.
func plain(ref phx.Term) string {
	if s, ok := ref.Text(); ok {
		return s
	}
	if ref == phx.Null {
		return ""
	}
	return string(ref)
}
