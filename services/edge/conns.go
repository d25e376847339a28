package edge

import (
	"github.com/skein-mesh/skein/pkg/wsframe"
	"github.com/skein-mesh/skein/services/edge/drain"
	"github.com/skein-mesh/skein/services/edge/longpoll"
	"github.com/skein-mesh/skein/services/edge/session"
	"github.com/skein-mesh/skein/services/edge/socket"
)

// polling yields what serves long-poll at each mount that has it.
func (e *Edge) polling(yield func(*longpoll.Server) bool) {
	for _, p := range e.places {
		if p.polls != nil && !yield(p.polls) {
			return
		}
	}
}

// sessions yields every session with the id of its connection.
func (e *Edge) sessions(yield func(uint64, *session.Session) bool) {
	for c := range e.sockets.All() {
		if s := sessionOf(c.Handler()); s != nil && !yield(c.ID(), s) {
			return
		}
	}
	for polls := range e.polling {
		for c := range polls.All() {
			if s := sessionOf(c.Handler()); s != nil && !yield(c.ID(), s) {
				return
			}
		}
	}
}

// sessionOf returns the session that handles a connection; nil if it is not there
// yet.
func sessionOf(handler any) *session.Session {
	s, _ := handler.(*session.Session)
	return s
}

// conns yields every connection as package drain sees it.
func (e *Edge) conns(yield func(drain.Conn) bool) {
	for c := range e.sockets.All() {
		if !yield(socketConn{c}) {
			return
		}
	}
	for polls := range e.polling {
		for c := range polls.All() {
			if !yield(pollConn{c}) {
				return
			}
		}
	}
}

// socketConn is a WebSocket as package drain sees it.
type socketConn struct{ *socket.Conn }

// Look implements [drain.Conn].
func (c socketConn) Look() drain.Look {
	l := c.Conn.Look()
	return drain.Look{
		ID: c.ID(), Closing: l.Closing, Quiet: l.Quiet && quiet(c.Handler()), Age: l.Age, Silence: l.Silence,
	}
}

// Move implements [drain.Conn].
func (c socketConn) Move(reason string) bool { return move(c.Conn, c.Handler(), reason) }

// pollConn is a long-poll session as package drain sees it.
type pollConn struct{ *longpoll.Conn }

// Look implements [drain.Conn].
func (c pollConn) Look() drain.Look {
	l := c.Conn.Look()
	return drain.Look{
		ID: c.ID(), Poll: true, Closing: l.Closing, Quiet: l.Quiet && quiet(c.Handler()), Age: l.Age, Silence: l.Silence,
	}
}

// Move implements [drain.Conn].
func (c pollConn) Move(reason string) bool { return move(c.Conn, c.Handler(), reason) }

// quiet reports whether the client of a handler waits for nothing. One that has no
// session yet waits for that.
func quiet(handler any) bool {
	s := sessionOf(handler)
	return s != nil && s.Quiet()
}

// move closes a connection, through its session if there is one.
func move(c session.Conn, handler any, reason string) bool {
	if s := sessionOf(handler); s != nil {
		return s.Move(reason)
	}
	return c.Close(wsframe.CodeRestart, reason)
}

// refuse turns away who comes, over all transports, or takes that back.
func (e *Edge) refuse(on bool) {
	e.sockets.Refuse(on)
	for polls := range e.polling {
		polls.Refuse(on)
	}
}

// shut makes the edge listen to no clients any more.
func (e *Edge) shut() { e.sockets.Shut() }

// count is the number of connections over all transports, also of those that are
// closing.
func (e *Edge) count() int { return e.sum(e.sockets.Count(), (*longpoll.Server).Count) }

// open is the number of connections that are not closing.
func (e *Edge) open() int { return e.sum(e.sockets.Open(), (*longpoll.Server).Open) }

// opened is how many connections were opened so far.
func (e *Edge) opened() uint64 {
	n := e.sockets.Stats().Opened
	for polls := range e.polling {
		n += polls.Opened()
	}
	return n
}

// sum adds to a number of sockets those of the polls of each mount.
func (e *Edge) sum(n int, of func(*longpoll.Server) int) int {
	for polls := range e.polling {
		n += of(polls)
	}
	return n
}
