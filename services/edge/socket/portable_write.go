package socket

import (
	"time"

	"github.com/skein-mesh/skein/pkg/wsframe"
)

// write writes what waits, until the close frame is written or the connection
// breaks.
func (c *portableConn) write() {
	defer close(c.ended)
	var frames []wsframe.Frame
	for range c.wake {
		for {
			var state phase
			frames, state = c.pending(frames)
			if state != open {
				c.turn.Lock()
				c.tell()
				c.turn.Unlock()
			}
			if state == gone {
				return
			}
			if len(frames) == 0 {
				if state == closing {
					return
				}
				break
			}
			if !c.writeAll(frames) {
				return
			}
			clear(frames)
		}
	}
}

// pending takes what waits, or notes that nothing does.
func (c *portableConn) pending(buf []wsframe.Frame) ([]wsframe.Frame, phase) {
	c.mu.Lock()
	defer c.mu.Unlock()
	buf, _ = c.out.take(buf)
	if len(buf) == 0 {
		c.scheduled = false
		c.out.trim()
	}
	return buf, c.phase
}

// writeAll writes the frames in one write and reports whether the connection
// goes on.
func (c *portableConn) writeAll(frames []wsframe.Frame) bool {
	buf, _ := c.engine.corks.Get().(*[]byte)
	defer c.engine.corks.Put(buf)
	c.guest.cork(*buf)
	total := 0
	var failed error
	for _, f := range frames {
		if failed = c.writeFrame(f); failed != nil {
			break
		}
		total += f.Len()
	}
	c.bound()
	var err error
	*buf, err = c.guest.uncork()
	c.mount.server.count.writeCalls.Add(1)
	c.mount.server.count.framesOut.Add(int64(len(frames)))
	c.mount.server.count.bytesOut.Add(int64(total))
	switch {
	case err != nil:
		c.abort()
		return true // the next look finds it gone
	case failed != nil: // the package has sent a close frame of its own
		return false
	}
	c.mu.Lock()
	c.out.written(total, c.mount.server.now)
	c.mu.Unlock()
	return true
}

// writeFrame writes a frame by the package's writer, which compresses each anew
// for each of its connections and so only gets those that do not negotiate it.
func (c *portableConn) writeFrame(f wsframe.Frame) error {
	if !c.deflate {
		return c.ws.WriteMessage(int(f.Op()), f.Payload())
	}
	_, err := c.guest.Write(f.Wire())
	return err
}

// bound sets the deadline of the coming write anew if closing has begun: each
// message that the package takes removes the one of [portableConn.limit].
func (c *portableConn) bound() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.phase != open {
		left := time.Duration(c.deadline - c.mount.server.now())
		_ = c.guest.SetWriteDeadline(time.Now().Add(left)) // it fails on a closed connection only
	}
}
