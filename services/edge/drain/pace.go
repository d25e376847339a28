package drain

import "time"

// lateness is how much of a delay is caught up with: timers are not exact, but
// a pause is not followed by a burst.
const lateness = 20 * time.Millisecond

// pace spaces events so that their mean interval is 1/rate and no second has more
// than rate of them, or one if that is less. The zero value is ready.
type pace struct {
	last   time.Time   // when the last event was due
	spread float64     // of the interval that follows it, 1 for the mean
	recent []time.Time // events of the last second, oldest first
}

// wait is for how long the next event has to, at a rate in events per second,
// which must be positive.
func (p *pace) wait(now time.Time, rate float64) time.Duration {
	for len(p.recent) > 0 && now.Sub(p.recent[0]) >= time.Second {
		p.recent = p.recent[1:]
	}
	due := p.last.Add(seconds(p.spread / rate))
	if n, most := len(p.recent), max(int(rate), 1); n >= most {
		if full := p.recent[n-most].Add(time.Second); full.After(due) {
			due = full
		}
	}
	return max(due.Sub(now), 0)
}

// took notes an event. spread is that of the next interval.
func (p *pace) took(now time.Time, rate, spread float64) {
	p.recent = append(p.recent, now)
	due := p.last.Add(seconds(p.spread / rate))
	if now.Sub(due) > lateness {
		due = now
	}
	p.last, p.spread = due, spread
}

// seconds is a duration of so many, at most an hour.
func seconds(s float64) time.Duration {
	return time.Duration(min(s, time.Hour.Seconds()) * float64(time.Second))
}
