package bench

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// leaveRef marks leaves.
const leaveRef = "l"

// People has a crowd enter topics, follows some lists of who is online as
// phoenix.js does, and has the crowd leave. holding is called when the lists are
// complete and measured; from then on the end of ctx only ends the hold.
func People(ctx context.Context, o PeopleOptions, holding func()) (*Report, error) {
	result, err := people(ctx, o, holding)
	return &Report{Scenario: "people", Target: result}, err
}

func people(ctx context.Context, o PeopleOptions, holding func()) (*Result, error) {
	r, err := newRun(ctx, o.Common, o.People)
	if err != nil {
		return nil, err
	}
	defer r.loop.close()
	r.crowd = newCrowd(o)
	r.topicOf = func(c *conn, _ int) int { return c.topic }
	r.name, r.params = peopleTopic, r.crowd.params
	err = r.dial(ctx, o.People, func(i int) (*conn, int) { return r.crowd.person(i), (i + i/o.Topics) % len(r.edges) })
	if err := errors.Join(err, r.first); err != nil {
		return nil, err
	}
	processes, _ := parsePids(o.Pids) // was validated
	target, self, err := watches(processes)
	if err != nil {
		return nil, err
	}
	result := &Result{Operation: "join", Connect: r.connect.result(time.Now())}
	if err := errors.Join(r.joinAll(ctx, 1), r.first); err != nil {
		return nil, err
	}
	result.Join = r.join.result(time.Now())
	complete, err := r.until(ctx, o.Patience, func() bool { return r.crowd.short(0) == 0 })
	if err != nil {
		return nil, err
	}
	result.People = &Crowd{
		People: o.People, Topics: o.Topics, Lists: len(r.crowd.lists), Incomplete: r.crowd.short(0),
		CompleteSeconds: complete.Sub(r.join.began).Seconds(),
	}
	if err := r.wait(ctx, o.Settle); err != nil {
		return nil, err
	}
	result.Processes, result.Client = target.stop(r.join.done, 0), self.stop(r.join.done, 0)[0]
	holding()
	if err := r.hold(ctx, o.Hold, result.People); err != nil {
		return nil, err
	}
	if err := r.disperse(context.WithoutCancel(ctx), o, result.People); err != nil {
		return nil, err
	}
	r.conclude(result)
	return result, nil
}

// hold keeps the crowd where it is, and counts.
func (r *run) hold(ctx context.Context, d time.Duration, result *Crowd) error {
	before, began := r.loop.bytes, time.Now()
	calls, _, _ := r.crowd.calls()
	if err := r.wait(ctx, d); err != nil && ctx.Err() == nil {
		return err
	}
	result.HeldSeconds = time.Since(began).Seconds()
	result.HeldCalls, result.SpuriousJoins, result.SpuriousLeaves = r.crowd.calls()
	result.HeldCalls -= calls
	people := float64(result.People)
	result.Frames, result.Bytes = r.loop.frames, r.loop.bytes
	result.BytesPerClient, result.HeldBytesPerClient = float64(r.loop.bytes)/people, float64(r.loop.bytes-before)/people
	return nil
}

// disperse has everybody leave whose list is not followed, sees them go, and has
// the others leave.
func (r *run) disperse(ctx context.Context, o PeopleOptions, result *Crowd) error {
	for _, l := range r.crowd.lists {
		l.leaving = true
	}
	began := time.Now()
	if err := r.leaveAll(ctx, o.Patience, func(c *conn) bool { return c.list == nil }); err != nil {
		return err
	}
	empty, err := r.until(ctx, o.Patience, func() bool { return r.crowd.short(o.Sample) == 0 })
	if err != nil {
		return err
	}
	result.EmptySeconds, result.Ghosts = empty.Sub(began).Seconds(), r.crowd.short(o.Sample)
	return r.leaveAll(ctx, o.Patience, func(c *conn) bool { return c.list != nil })
}

// leaveAll has some sockets leave their topic and waits for the answers.
func (r *run) leaveAll(ctx context.Context, patience time.Duration, who func(*conn) bool) error {
	before, asked := r.crowd.gone, 0
	for _, c := range r.loop.conns {
		if c.state != open || !who(c) {
			continue
		}
		text := fmt.Appendf(nil, `["1",%q,%q,"phx_leave",{}]`, leaveRef, r.name(c.topic))
		asked, c.leaving = asked+1, true
		if err := c.write(appendFrame(nil, opText, text)); err != nil {
			c.drop()
			r.closed(c, err)
		}
		if asked%r.common.Concurrency == 0 {
			if err := r.loop.poll(0); err != nil {
				return err
			}
		}
	}
	_, err := r.until(ctx, patience, func() bool { return r.crowd.gone-before+r.lost >= asked })
	return err
}

// until handles what comes until a condition holds, for as long as patience
// lasts, and returns when it stopped.
func (r *run) until(ctx context.Context, patience time.Duration, done func() bool) (time.Time, error) {
	for end := time.Now().Add(patience); ; {
		now := time.Now()
		if done() || now.After(end) {
			return now, nil
		}
		if err := errors.Join(r.loop.poll(10*time.Millisecond), ctx.Err()); err != nil {
			return now, err
		}
	}
}
