package people

import "time"

// begin is for a topic that the first edge, or backend, comes to. Others may know
// of people there unless all said what they know.
func (l *Ledger) begin(t *topic, now time.Time) {
	all := l.agreed && !now.Before(l.fresh)
	if t.settled && all {
		return
	}
	l.unsettle(t, now, SettleTime)
	if all {
		l.settle(t, now)
	}
}

// unsettle makes a topic wait until all edges have said what they know of it.
func (l *Ledger) unsettle(t *topic, now time.Time, patience time.Duration) {
	if !t.settled && !t.deadline.IsZero() {
		return // it waits already
	}
	t.settled, t.since, t.deadline = false, now, now.Add(patience)
	l.unsettled[t] = struct{}{}
	delete(l.counting, t)
}

// settle tells everybody what is known of a topic, and from now on each change.
func (l *Ledger) settle(t *topic, now time.Time) {
	t.settled = true
	delete(l.unsettled, t)
	l.stats.Settled++
	l.stats.SettleTime += now.Sub(t.since)
	l.relist(t, now)
	l.tellStates(t)
	for s := range t.sinks {
		s.tellState(t)
	}
}

// settleAll settles the topics that have waited for long enough.
func (l *Ledger) settleAll(now time.Time) {
	all := l.agreed && !now.Before(l.fresh)
	for t := range l.unsettled {
		if all || !now.Before(t.deadline) {
			l.settle(t, now)
		}
	}
}

// Tick ends what has waited for long enough and reports whether more waits. It
// is to be called each [TickInterval] while it does; see [Ledger.Waits].
func (l *Ledger) Tick(now time.Time) (waits bool) {
	for e := range l.detached {
		if now.Sub(e.since) >= ReturnTime {
			l.remove(e, now)
		}
	}
	for len(l.held) > 0 && !now.Before(l.held[0].until) {
		r := l.held[0]
		l.held[0] = nil
		l.held = l.held[1:]
		if t := r.topic; r.edge == nil && t.refs[r.GetRef()] == r {
			l.drop(t, r)
			l.changed(t, &delta{freed: []*row{r}}, now)
		}
	}
	if len(l.held) == 0 {
		l.held = nil
	}
	l.settleAll(now)
	for t := range l.counting {
		if now.Sub(t.counted) >= CountInterval {
			l.tellCounts(t, now)
		}
	}
	return l.Waits()
}

// Waits reports whether [Ledger.Tick] has something to wait for.
func (l *Ledger) Waits() bool {
	return len(l.detached)+len(l.held)+len(l.unsettled)+len(l.counting) > 0
}

// learning reports whether edges may still have to say what they know: what is
// not known yet may be so all the same.
func (l *Ledger) learning(now time.Time) bool {
	return now.Before(l.fresh) || !l.agreed && now.Sub(l.differs) < SettleTime
}
