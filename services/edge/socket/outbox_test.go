package socket

import (
	"testing"
	"time"

	"github.com/skein-mesh/skein/pkg/wsframe"
)

// fill pushes frames until one does not fit and says how many bytes wait then.
func fill(o *outbox, limit int, clock func() int64, each func()) int {
	f := wsframe.New(wsframe.Text, make([]byte, 1000))
	for o.fits(f, limit, clock) {
		o.push(f)
		each()
	}
	return o.cost
}

func TestWhatIsTooSlow(t *testing.T) {
	const limit = 100 << 10
	now := int64(1)
	clock := func() int64 { return now }
	for name, c := range map[string]struct {
		each  func(o *outbox) // after each frame
		least int             // bytes that wait when the next does not fit
		most  int
	}{
		"a burst faster than any writer": {func(*outbox) { now++ }, burstFactor*limit - 2000, burstFactor * limit},
		"nothing goes out": {
			func(*outbox) { now += int64(time.Millisecond) }, stallFactor*limit - 2000, stallFactor * limit,
		},
		"some goes out, but less than comes": {
			func(o *outbox) { now += int64(time.Millisecond); o.written(500, clock) }, stallFactor * limit, burstFactor * limit,
		},
		"a little too slow for too long": {
			func(o *outbox) {
				now += int64(10 * time.Millisecond)
				if o.cost > limit+3000 {
					o.written(1004, clock)
				}
			}, limit, limit + 6000,
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := &outbox{}
			if got := fill(o, limit, clock, func() { c.each(o) }); got < c.least || got > c.most {
				t.Errorf("%d bytes wait, want %d to %d", got, c.least, c.most)
			}
		})
	}
}

// Being over the limit is forgiven once the client caught up.
func TestCatchingUp(t *testing.T) {
	const limit = 10 << 10
	now := int64(1)
	clock := func() int64 { return now }
	f := wsframe.New(wsframe.Text, make([]byte, 1000))
	o := &outbox{}
	for range 100 { // each burst alone would be too slow if the last still counted
		for range 15 {
			if !o.fits(f, limit, clock) {
				t.Fatal("a short burst did not fit")
			}
			o.push(f)
		}
		o.written(15*f.Len(), clock)
		now += int64(burstTime)
	}
}
