package hub

func (t *topic) add(s Subscriber) {
	t.members = append(t.members, s)
	s.seat().place = int32(len(t.members)) //nolint:gosec // sockets of one process
}

func (t *topic) replace(old, s Subscriber) {
	s.seat().place, old.seat().place = old.seat().place, 0
	t.members[s.seat().place-1] = s
}

// remove fills the hole with the last member: order among members means nothing.
func (t *topic) remove(s Subscriber) {
	place := s.seat().place
	s.seat().place = 0
	last := len(t.members) - 1
	if moved := t.members[last]; moved != s {
		t.members[place-1] = moved
		moved.seat().place = place
	}
	t.members[last] = nil
	t.members = t.members[:last]
	t.shrink()
}

// shrink gives memory back once three quarters stand empty. Small topics stay
// as they are.
func (t *topic) shrink() {
	const small = 64
	n := len(t.members)
	switch {
	case n == 0:
		t.members = nil
	case cap(t.members) > small && n < cap(t.members)/4:
		t.members = append(make([]Subscriber, 0, 2*n), t.members...)
	}
}
