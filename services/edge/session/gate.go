package session

import "sync/atomic"

// gate keeps the client's next message waiting while the current one is being
// handled elsewhere. Only the reader begins and waits; whoever is done ends.
// There is at most one beginning without an end, since the reader is stopped
// until then.
type gate struct{ state atomic.Uint32 }

const (
	idle   uint32 = iota
	begun         // and the reader has not come to wait
	paused        // the reader has paused the connection; the end resumes it
)

func (g *gate) begin() { g.state.Store(begun) }

// wait pauses the connection, unless the end came before. It pauses first, so
// that the end can never resume before the pause.
func (g *gate) wait(conn Conn) {
	if g.state.Load() == idle {
		return
	}
	conn.Pause()
	if !g.state.CompareAndSwap(begun, paused) {
		conn.Resume()
	}
}

func (g *gate) end(conn Conn) {
	if g.state.Swap(idle) == paused {
		conn.Resume()
	}
}

// busy reports whether a beginning has no end yet.
func (g *gate) busy() bool { return g.state.Load() != idle }
