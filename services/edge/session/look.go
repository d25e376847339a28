package session

// Look is what can be seen of a session at one moment.
type Look struct {
	User       string   // as connect or the socket's token says; empty if nobody does
	Topics     []string // that are joined, in the order of their joins
	Unanswered int      // pushes of the client
}

// Look returns what can be seen now. It may be called by any goroutine.
func (s *Session) Look() Look {
	l := Look{User: s.user(nil), Unanswered: int(s.unanswered.Load())}
	for _, c := range s.snapshot() {
		if c.state.Load() == joined {
			l.Topics = append(l.Topics, c.topic)
		}
	}
	return l
}

// Has reports whether the session is the user's, or whoever's it is for an empty
// user, and has joined the topic, or any for an empty topic. A channel may be
// another user's than its socket, as their tokens say. It may be called by any
// goroutine.
func (s *Session) Has(user, topic string) bool {
	own := user == "" || user == s.user(nil)
	if topic == "" && own {
		return true
	}
	for _, c := range s.snapshot() {
		if c.state.Load() == joined && (topic == "" || topic == c.topic) && (own || user == c.user()) {
			return true
		}
	}
	return false
}
