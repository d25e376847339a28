package pump

import (
	"testing"
	"time"
)

// drive queues an item each interval, or, if each waits for the answer to the
// last, an interval after that was sent. It returns the total time waited.
func drive(l *linger, now *time.Time, span, interval time.Duration, oneByOne bool) (waited time.Duration) {
	for end := now.Add(span); now.Before(end); {
		*now = now.Add(interval)
		pause := l.wait(*now)
		*now = now.Add(pause)
		waited += pause
		items := 1
		if !oneByOne {
			items += int(pause / interval)
		}
		l.sent(*now, items)
	}
	return waited
}

const rush = 500 * time.Microsecond // between two items of a busy stream

func TestLinger(t *testing.T) {
	now := time.Unix(0, 0)
	var l linger
	if w := drive(&l, &now, time.Second, time.Millisecond, false); w != 0 {
		t.Errorf("1,000 messages a second waited %s", w)
	}
	if w := drive(&l, &now, time.Second, rush, false); w < 500*time.Millisecond {
		t.Errorf("2,000 messages a second waited %s in all: they were not gathered", w)
	}
	now = now.Add(time.Second)
	if w := l.wait(now); w != 0 || l.on {
		t.Errorf("the first message after a silence waited %s", w)
	}
}

func TestLingerGivesUpWhereNoCompanyComes(t *testing.T) {
	now := time.Unix(0, 0)
	var l linger
	for range 10 {
		if w := drive(&l, &now, lingerRest, rush, true); w > 2*lingerWindow {
			t.Errorf("waited %s of a second in vain", w)
		}
	}
}
