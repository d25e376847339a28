package socket

import (
	"errors"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/skein-mesh/skein/pkg/wsframe"
	"github.com/skein-mesh/skein/services/edge/socket/uring"
)

// gatherBytes is how much of several frames one write carries at most.
const gatherBytes = 64 << 10

// flusher writes what waits for its connections. While it works through those
// that have something, more frames come in for the others: under load each
// write carries several frames, and when it is quiet none waits.
type flusher struct {
	server *Server
	wake   chan struct{} // capacity one
	done   chan struct{}

	// mu guards dirty: connections with something to write, each once.
	mu    sync.Mutex
	dirty []*nativeConn

	// Owned by run.
	batch  []*nativeConn
	frames []wsframe.Frame
	offset int // bytes of the first frame that are written already
	gather []byte
	tally  tally
	ring   *uring.Ring // nil to write with write(2)
	flight []*nativeConn
}

// tally is what a flusher did since it was last counted.
type tally struct{ frames, bytes, writes, stalls int64 }

func newFlusher(s *Server) *flusher {
	return &flusher{
		server: s,
		wake:   make(chan struct{}, 1),
		done:   make(chan struct{}),
		gather: make([]byte, 0, gatherBytes),
	}
}

// mark puts a connection on the list. [Conn.scheduled] keeps it from being
// there twice.
func (f *flusher) mark(c *nativeConn) {
	f.mu.Lock()
	f.dirty = append(f.dirty, c)
	first := len(f.dirty) == 1
	f.mu.Unlock()
	if first {
		signal(f.wake)
	}
}

func (f *flusher) run() {
	defer f.openRing()()
	for {
		select {
		case <-f.wake:
		case <-f.done:
			return
		}
		for f.take() {
			if f.ring != nil && len(f.batch) > 1 {
				f.flushRing()
			} else {
				for _, c := range f.batch {
					f.flush(c)
				}
			}
			clear(f.batch)
			f.count()
		}
	}
}

func (f *flusher) take() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.batch, f.dirty = f.dirty, f.batch[:0]
	return len(f.batch) > 0
}

func (f *flusher) count() {
	n := &f.server.count
	n.framesOut.Add(f.tally.frames)
	n.bytesOut.Add(f.tally.bytes)
	n.writeCalls.Add(f.tally.writes)
	if f.tally.stalls > 0 {
		n.stalled.Add(f.tally.stalls)
	}
	f.tally = tally{}
}

// flush writes everything that waits for a connection.
func (f *flusher) flush(c *nativeConn) {
	for f.prepare(c) {
		n, err := f.write(int(c.fd), f.frames, f.offset)
		if f.settle(c, n, err) {
			break
		}
	}
	clear(f.frames)
	f.frames = f.frames[:0]
}

// prepare takes what waits into f.frames and claims the descriptor, or reports
// that there is nothing to do.
func (f *flusher) prepare(c *nativeConn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.phase == gone || c.broken {
		return false
	}
	if len(c.out.frames) == 0 {
		c.drained()
		return false
	}
	f.frames, f.offset = c.out.take(f.frames)
	c.writing, c.edge = true, false
	return true
}

// settle books n written bytes, gives the descriptor back and reports whether
// the connection needs nothing more for now.
func (f *flusher) settle(c *nativeConn, n int, err error) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writing = false
	if c.phase == gone {
		_ = unix.Close(int(c.fd)) // the loop left it to us
		return true
	}
	before := len(c.out.frames)
	c.out.written(n, c.mount.server.now)
	f.tally.frames += int64(before - len(c.out.frames))
	f.tally.bytes += int64(n)
	switch {
	case errors.Is(err, unix.EAGAIN):
		if c.edge {
			return false // there was room again before we could wait for it
		}
		f.tally.stalls++
		c.blocked = true
	case err != nil:
		c.broken = true
		c.nudge()
	case len(c.out.frames) == 0:
		c.drained()
	default: // more came meanwhile: behind the others
		f.mark(c)
	}
	return true
}

// drained follows the last write; mu is held.
func (c *nativeConn) drained() {
	c.scheduled = false
	if c.phase != closing {
		return
	}
	if c.half {
		_ = unix.Shutdown(int(c.fd), unix.SHUT_WR) // it may be broken: the loop will see
	}
	if c.peerDone {
		c.nudge()
	}
}

// write writes the frames but for the first skip bytes, several in one call,
// until all are written or there is an error. It returns how many bytes went
// out.
func (f *flusher) write(fd int, frames []wsframe.Frame, skip int) (total int, err error) {
	for len(frames) > 0 {
		chunk, used := gather(f.gather[:0], frames, skip)
		for len(chunk) > 0 {
			n, err := unix.Write(fd, chunk)
			f.tally.writes++
			if errors.Is(err, unix.EINTR) {
				continue
			}
			if err != nil {
				return total, err
			}
			total += n
			chunk = chunk[n:]
		}
		frames, skip = frames[used:], 0
	}
	return total, nil
}

// gather returns the next bytes to write, but for the first skip, and how many
// frames they are. One frame is not copied; several are, into buf, as far as it
// goes.
func gather(buf []byte, frames []wsframe.Frame, skip int) ([]byte, int) {
	first := frames[0].Wire()[skip:]
	room := min(cap(buf), gatherBytes)
	if len(frames) == 1 || len(first)+frames[1].Len() > room {
		return first, 1
	}
	buf = append(buf, first...)
	for i, frame := range frames[1:] {
		if len(buf)+frame.Len() > room {
			return buf, i + 1
		}
		buf = append(buf, frame.Wire()...)
	}
	return buf, len(frames)
}
