package uplink

import (
	"time"

	"github.com/skein-mesh/skein/pkg/channel"
	meshv1 "github.com/skein-mesh/skein/proto/gen/skein/mesh/v1"
)

// flow is the publishes of one topic that are not answered yet. It exists only
// while there are some.
type flow struct {
	topic    string
	port     *port      // that carries those under way
	underWay int        // queued for port and not answered
	held     []*publish // in order; wait for an owner, or for those under way elsewhere
}

// publish takes b in, or refuses it at once; then done is not called.
func (c *core) publish(b channel.Broadcast, done func(error)) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return channel.ErrUnavailable
	}
	p := newPublish(b, done, c.now)
	f := c.flows[b.Topic]
	if f == nil {
		f = c.newFlow(b.Topic)
	}
	if len(f.held) == 0 {
		if out := c.way(f); out != nil {
			err := c.send(f, out, p)
			c.settle(f)
			return err
		}
	}
	if c.heldBytes > 0 && c.heldBytes+p.size() > c.limit {
		c.settle(f)
		return channel.ErrOverloaded
	}
	c.hold(f, p)
	return nil
}

// way is the port that the next publish of f goes to, nil while it must wait.
func (c *core) way(f *flow) *port {
	p := c.ports[c.adopted.ring.Owner(f.topic)]
	if p == nil || f.underWay > 0 && f.port != p {
		return nil
	}
	return p
}

func (c *core) send(f *flow, out *port, p *publish) error {
	p.message.Seq = out.window.next()
	if out.out.Push(item{publish: p, size: p.size()}) != nil {
		return channel.ErrOverloaded
	}
	out.window.push(flight{f, p})
	f.port = out
	f.underWay++
	return nil
}

func (c *core) hold(f *flow, p *publish) {
	f.held = append(f.held, p)
	c.held++
	c.heldBytes += p.size()
}

// release sends what f holds, as far as it may go now.
func (c *core) release(f *flow, fx *effects) {
	n := 0
	for ; n < len(f.held); n++ {
		out := c.way(f)
		if out == nil {
			break
		}
		p := f.held[n]
		c.held--
		c.heldBytes -= p.size()
		if err := c.send(f, out, p); err != nil {
			fx.answer(p, err)
		}
	}
	if n > 0 {
		f.held = append(f.held[:0:0], f.held[n:]...)
	}
	c.settle(f)
}

func (c *core) releaseAll(fx *effects) {
	if c.held == 0 {
		return
	}
	for _, f := range c.flows {
		if len(f.held) > 0 {
			c.release(f, fx)
		}
	}
}

// answers ends publishes of p as the router says.
func (c *core) answers(p *port, acks []*meshv1.PublishAck, fx *effects) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, ack := range acks {
		if t := p.window.take(ack.GetSeq()); t.publish != nil {
			c.landed(t, publishError(ack.GetError()), fx)
		}
	}
}

// landed ends one publish that was under way.
func (c *core) landed(t flight, err error, fx *effects) {
	fx.answer(t.publish, err)
	t.flow.underWay--
	if t.flow.underWay > 0 {
		return
	}
	if len(t.flow.held) > 0 {
		c.release(t.flow, fx)
		return
	}
	c.settle(t.flow)
}

func publishError(e meshv1.PublishError) error {
	switch e {
	case meshv1.PublishError_PUBLISH_ERROR_UNSPECIFIED:
		return nil
	case meshv1.PublishError_PUBLISH_ERROR_OVERLOADED:
		return channel.ErrOverloaded
	case meshv1.PublishError_PUBLISH_ERROR_UNAVAILABLE:
		return channel.ErrUnavailable
	default: // a later version refuses for a reason unknown to this one
		return channel.ErrUnavailable
	}
}

// abandon ends the publishes of a stream that broke: what it may have carried
// failed, what it did not carry waits for the next way.
func (c *core) abandon(p *port, fx *effects) {
	last := p.sent.Load()
	back := map[*flow][]*publish{} // flows that had something here, with what was not sent
	for i, t := range p.window.entries {
		switch seq := p.window.base + uint64(i) + 1; {
		case t.publish == nil:
		case seq <= last:
			t.flow.underWay--
			fx.answer(t.publish, channel.ErrUnavailable)
			back[t.flow] = append(back[t.flow], nil...)
		default:
			t.flow.underWay--
			back[t.flow] = append(back[t.flow], t.publish)
			c.held++
			c.heldBytes += t.publish.size()
		}
	}
	p.window = window{}
	for f, unsent := range back {
		f.held = append(unsent, f.held...)
		c.release(f, fx)
	}
}

// expire ends publishes that have waited for too long: first those that are
// held, so that none of them is sent and given up at once.
func (c *core) expire(fx *effects) {
	late := c.now.Add(-Patience)
	if c.held > 0 {
		for _, f := range c.flows {
			c.expireHeld(f, late, fx)
		}
	}
	for p := range c.attached {
		for i := p.window.head; i < len(p.window.entries); i++ {
			if t := p.window.entries[i]; t.publish != nil && !t.publish.at.After(late) {
				p.window.entries[i] = flight{}
				t.publish.fate.CompareAndSwap(queued, givenUp)
				c.landed(t, channel.ErrUnavailable, fx)
			}
		}
		p.window.compact()
	}
}

func (c *core) expireHeld(f *flow, late time.Time, fx *effects) {
	n := 0
	for n < len(f.held) && !f.held[n].at.After(late) {
		fx.answer(f.held[n], channel.ErrUnavailable)
		c.held--
		c.heldBytes -= f.held[n].size()
		n++
	}
	if n > 0 {
		f.held = append(f.held[:0:0], f.held[n:]...)
		c.settle(f)
	}
}

// newFlow takes a flow from those that ended: a topic that is published to once
// a second should not cost an allocation each time.
func (c *core) newFlow(topic string) *flow {
	f := &flow{}
	if n := len(c.idle); n > 0 {
		f, c.idle = c.idle[n-1], c.idle[:n-1]
	}
	f.topic = topic
	c.flows[topic] = f
	return f
}

const maxIdle = 1024

// settle forgets f if nothing of it is left.
func (c *core) settle(f *flow) {
	if f.underWay > 0 || len(f.held) > 0 {
		return
	}
	delete(c.flows, f.topic)
	if len(c.idle) < maxIdle {
		*f = flow{held: f.held[:0]}
		c.idle = append(c.idle, f)
	}
}
