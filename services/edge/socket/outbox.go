package socket

import (
	"time"

	"github.com/skein-mesh/skein/pkg/wsframe"
)

// A burst is not a slow reader: more than the limit may wait for a moment, as
// long as the socket takes it.
const (
	burstFactor = 8                     // times the limit: never more
	burstTime   = 2 * time.Second       // over the limit: never longer
	stallFactor = 2                     // times the limit: not more unless bytes went out
	stallTime   = 50 * time.Millisecond // this lately
)

// outbox is what waits to be written to one socket, oldest first. Its owner
// guards it. Empty, it may keep a small array until [outbox.trim].
type outbox struct {
	frames []wsframe.Frame
	cost   int // of all frames, see frameCost
	offset int // bytes of the first frame that are written already
	taken  int // leading frames that a writer is working on

	over  int64 // when cost came to exceed the limit, on the server's clock; 0 while it does not
	moved int64 // when bytes went out last, while over
}

// frameCost of a frame is its size and what the queue itself spends on it, so
// that a flood of tiny frames is bounded too.
func frameCost(f wsframe.Frame) int { return f.Len() + 32 }

// fits reports whether f may wait as well. One frame always may: its bytes are
// shared with the other sockets that get it. The clock is read only while more
// than the limit waits.
func (o *outbox) fits(f wsframe.Frame, limit int, clock func() int64) bool {
	cost := o.cost + frameCost(f)
	if len(o.frames) == 0 || cost <= limit {
		o.over = 0
		return true
	}
	now := clock()
	if o.over == 0 {
		o.over, o.moved = now, now
	}
	switch {
	case cost > burstFactor*limit, now-o.over > int64(burstTime):
		return false
	case cost > stallFactor*limit:
		return now-o.moved <= int64(stallTime)
	}
	return true
}

func (o *outbox) push(f wsframe.Frame) {
	o.frames = append(o.frames, f)
	o.cost += frameCost(f)
}

// take copies what waits into dst, for a writer that works outside the lock,
// and says how much of the first frame is written. It stays queued until
// [outbox.written].
func (o *outbox) take(dst []wsframe.Frame) ([]wsframe.Frame, int) {
	o.taken = len(o.frames)
	return append(dst[:0], o.frames...), o.offset
}

// written removes n bytes from the front and ends what take began.
func (o *outbox) written(n int, clock func() int64) {
	o.taken = 0
	if n > 0 && o.over != 0 {
		o.moved = clock()
	}
	n += o.offset
	done := 0
	for done < len(o.frames) && n >= o.frames[done].Len() {
		n -= o.frames[done].Len()
		o.cost -= frameCost(o.frames[done])
		done++
	}
	o.offset = n
	if done > 0 {
		left := copy(o.frames, o.frames[done:])
		clear(o.frames[left:])
		o.frames = o.frames[:left]
	}
}

// discard drops every frame of which no byte is written.
func (o *outbox) discard() {
	keep := o.taken
	if o.offset > 0 {
		keep = max(keep, 1)
	}
	for _, f := range o.frames[keep:] {
		o.cost -= frameCost(f)
	}
	clear(o.frames[keep:])
	o.frames = o.frames[:keep]
}

// trim gives an empty array back.
func (o *outbox) trim() {
	if len(o.frames) == 0 {
		o.frames = nil
	}
}
