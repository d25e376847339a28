package hub_test

import (
	"slices"
	"testing"
)

// A subscriber may give its seat back when it gets it.
func TestJoinedAndGone(t *testing.T) {
	h, mesh := newHub(t)
	var all [5]*listener
	for i := range all {
		all[i] = listen(uint64(i) + 1)
		all[i].leaves = i != 2
		h.Join("t", all[i], nil)
	}
	h.Confirm("t", nil)
	late := listen(9)
	late.leaves = true
	h.Join("t", late, nil)
	h.Deliver(broadcast())
	for i, l := range append(all[:], late) {
		if i == 2 {
			l.got(t, "joined", frame)
		} else {
			l.got(t, "joined")
		}
	}
	if s := h.Stats(); s.Subscribers != 1 || s.Delivered != 1 {
		t.Errorf("%+v", s)
	}
	if log := mesh.take(); !slices.Equal(log, []string{"want t"}) {
		t.Errorf("the mesh was told %q", log)
	}
}
