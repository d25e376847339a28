package pump

import (
	"context"
	"time"
)

// How a busy stream gathers. Waking the other side costs some forty times what
// one more item in a message does, so above some 1,600 messages a second it pays
// to wait a moment for company. What a quiet stream sends goes out at once.
const (
	lingerWindow = 20 * time.Millisecond   // over which a stream is judged
	lingerBusy   = 32                      // messages in a window that make it busy
	lingerTime   = 2500 * time.Microsecond // between two messages of a busy stream
	lingerYield  = 2                       // items a message must then have on average, or waiting is in vain
	lingerRest   = time.Second             // after waiting in vain: each item waits for the answer to the last
)

// linger decides how long a sender waits before it takes what is queued. The
// zero value is that of a quiet stream.
type linger struct {
	begin    time.Time // of the window
	messages int       // sent in the window
	items    int       // in them
	last     time.Time // when the last message was sent
	on       bool
	rested   time.Time // not on again before
}

// sent notes a message and what it held.
func (l *linger) sent(now time.Time, items int) {
	l.messages++
	l.items += items
	l.last = now
	l.judge(now)
}

// wait is how long to wait now that something is queued.
func (l *linger) wait(now time.Time) time.Duration {
	l.judge(now)
	if !l.on {
		return 0
	}
	return max(0, l.last.Add(lingerTime).Sub(now))
}

// pause waits, now that something is queued, unless the stream ends: then it
// returns why.
func (l *linger) pause(ctx context.Context, received *receiver) error {
	left := l.wait(time.Now())
	if left == 0 {
		return nil
	}
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-received.done:
		return received.reason(ctx)
	case <-time.After(left):
		return nil
	}
}

// judge looks at a window that is over, and begins the next.
func (l *linger) judge(now time.Time) {
	past := now.Sub(l.begin)
	if past < lingerWindow {
		return
	}
	switch {
	case past >= 2*lingerWindow: // nothing was sent for a while
		l.on = false
	case !l.on:
		l.on = l.messages >= lingerBusy && !now.Before(l.rested)
	case l.items < lingerYield*l.messages:
		l.on, l.rested = false, now.Add(lingerRest)
	}
	l.begin, l.messages, l.items = now, 0, 0
}
