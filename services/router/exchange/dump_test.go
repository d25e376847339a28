package exchange_test

import "fmt"

func (w *world) dump() string {
	s := ""
	for _, id := range sortedIDs(w.routers) {
		r := w.routers[id]
		s += fmt.Sprintf("%s dead=%v state=%v view=%x sus=%v", id, r.dead, r.state, r.x.View().GetHash(), r.x.Suspects())
		if !r.dead {
			for i := range topics {
				s += " " + r.x.Topic(topicName(i)).Owner
			}
			s += fmt.Sprintf(" %+v\n", r.x.Stats())
			for _, e := range r.x.Edges() {
				s += fmt.Sprintf("    %s synced %v rows %d\n", e.Hello.GetId(), e.Synced, e.Rows)
			}
		} else {
			s += "\n"
		}
	}
	for _, e := range w.edges {
		s += fmt.Sprintf("%s view=%x wants=%v streams=%v held=%v\n", e.id, e.view.GetHash(), e.wants, sortedIDs(e.streams), e.held)
		for t, b := range e.busy {
			s += fmt.Sprintf("   %s busy at %s %d owner %s\n", t, b.at, b.count, e.ring.Owner(t))
		}
		for id, st := range e.streams {
			s += fmt.Sprintf("   %s view=%x pending %v up %d down %d\n", id, st.view.GetHash(), st.pending, len(st.up.items), len(st.down.items))
		}
	}
	return s
}
