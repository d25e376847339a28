package session

// Tracer follows what clients ask for.
type Tracer interface {
	// Begin starts a span about a topic, within the trace that the context names;
	// nil for none. It returns the context of the span and what ends it, both nil
	// if nothing is recorded. end is called once, by any goroutine.
	Begin(within []byte, topic, name string) (context []byte, end func(failed error))
}

// Names of spans.
const (
	spanJoin = "edge join"
	spanPush = "edge push"
)

// span is something that may be followed: the zero value is not.
type span struct {
	context []byte
	end     func(failed error)
}

// begin starts a span for what the client asks about a topic.
func (s *Session) begin(topic, name string) span {
	if s.shared.Tracer == nil {
		return span{}
	}
	context, end := s.shared.Tracer.Begin(s.trace(), topic, name)
	return span{context, end}
}

// ends is called once, with why it failed or nil.
func (s span) ends(failed error) {
	if s.end != nil {
		s.end(failed)
	}
}

// trace is the trace that the client's socket belongs to; nil for none.
func (s *Session) trace() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.identity == nil {
		return nil
	}
	return s.identity.trace
}
