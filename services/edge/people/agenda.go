package people

import "container/heap"

// agenda is the topics with something to show, soonest first.
type agenda []*topic

// Len implements [heap.Interface].
func (a *agenda) Len() int { return len(*a) }

// Less implements [heap.Interface].
func (a *agenda) Less(i, j int) bool { return (*a)[i].due.Before((*a)[j].due) }

// Swap implements [heap.Interface].
func (a *agenda) Swap(i, j int) {
	topics := *a
	topics[i], topics[j] = topics[j], topics[i]
	topics[i].place, topics[j].place = i, j
}

// Push implements [heap.Interface].
func (a *agenda) Push(x any) {
	if t, ok := x.(*topic); ok {
		t.place = len(*a)
		*a = append(*a, t)
	}
}

// Pop implements [heap.Interface].
func (a *agenda) Pop() any {
	last := len(*a) - 1
	t := (*a)[last]
	(*a)[last] = nil
	*a = (*a)[:last]
	return t
}

// plan enters when a topic is to be looked at; zero takes it out.
func (c *core) plan(t *topic) {
	planned := !t.due.IsZero()
	t.due = c.when(t)
	switch {
	case planned && t.due.IsZero():
		heap.Remove(&c.agenda, t.place)
	case planned:
		heap.Fix(&c.agenda, t.place)
	case !t.due.IsZero():
		heap.Push(&c.agenda, t)
	}
}
