package socket

import (
	"github.com/fasthttp/websocket"

	"github.com/skein-mesh/skein/pkg/wsframe"
)

// framesBuffer is how much is read at once, in bytes.
const framesBuffer = 4 << 10

// errClosed says that the client's close frame was taken, as the package does.
var errClosed = &websocket.CloseError{Code: websocket.CloseNormalClosure}

// readFrames delivers the messages of a connection that negotiated compression.
// The package is not fit for that: its reader takes the bit of a compressed
// message on frames that must not have it, and its writer compresses a broadcast
// anew for each connection. So frames are ours here, as under epoll.
func (c *portableConn) readFrames() error {
	var decoder wsframe.Decoder
	conn := c.ws.NetConn() // it also has what came right behind the handshake
	buf := make([]byte, framesBuffer)
	var data []byte // of buf, received but not parsed
	for c.arm() {
		for {
			rest, complete, err := c.frame(&decoder, data)
			if err != nil {
				return err
			}
			if data = rest; complete {
				break
			}
			n, err := conn.Read(buf)
			if err != nil {
				return err
			}
			c.mount.server.count.bytesIn.Add(int64(n))
			data = buf[:n]
		}
		c.waitResume()
	}
	return nil
}

// frame takes the next frame from data, or keeps what there is of it.
func (c *portableConn) frame(d *wsframe.Decoder, data []byte) (rest []byte, ok bool, err error) {
	inflater, _ := c.engine.inflaters.Get().(*wsframe.Inflater)
	defer c.engine.inflaters.Put(inflater)
	m, rest, ok, err := d.Next(data, c.mount.limits(), inflater)
	if err != nil || !ok {
		return nil, false, err
	}
	c.received(0) // its bytes are counted
	switch {
	case m.Op == wsframe.Close:
		c.peerClose(m.Payload)
		return nil, false, errClosed
	case m.Op.IsControl():
		c.control(m)
	case m.Op != wsframe.Continuation:
		c.hand(m)
	}
	return rest, true, nil
}
