package bench

// tally counts what one subscriber got from the publishers of its topic. It is
// exact: a message is missing, in order, out of order or a duplicate.
type tally struct {
	streams []stream
}

// stream is what came from one publisher.
type stream struct {
	next    uint32              // one above the largest sequence number seen
	missing map[uint32]struct{} // below next, not seen; nil if none ever was
}

// verdict on one delivery.
type verdict uint8

const (
	inOrder verdict = iota
	outOfOrder
	duplicate
	foreign // of a publisher that the topic does not have
)

func newTally(publishers int) tally { return tally{make([]stream, publishers)} }

// take judges the arrival of a message.
func (t *tally) take(publisher, seq uint32) verdict {
	if int(publisher) >= len(t.streams) {
		return foreign
	}
	s := &t.streams[publisher]
	if seq == s.next {
		s.next++
		return inOrder
	}
	if seq > s.next {
		if s.missing == nil {
			s.missing = map[uint32]struct{}{}
		}
		// A gap of millions can only be nonsense; it must not eat the memory.
		if seq-s.next > 10_000_000 {
			return foreign
		}
		for ; s.next < seq; s.next++ {
			s.missing[s.next] = struct{}{}
		}
		s.next++
		return inOrder
	}
	if _, ok := s.missing[seq]; ok {
		delete(s.missing, seq)
		return outOfOrder
	}
	return duplicate
}

// lost counts messages that were accepted by the fleet, as accepted says for
// each of the first sent ones, and never came.
func (t *tally) lost(publisher int, sent uint32, accepted func(seq uint32) bool) int {
	s := &t.streams[publisher]
	n := 0
	for seq := range s.missing {
		if accepted(seq) {
			n++
		}
	}
	for seq := s.next; seq < sent; seq++ {
		if accepted(seq) {
			n++
		}
	}
	return n
}
