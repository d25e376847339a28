//go:build e2e

package e2e

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"
)

// Opcodes of WebSocket frames.
const (
	opText   = 1
	opBinary = 2
	opClose  = 8
	opPing   = 9
	opPong   = 10
)

// wire is a WebSocket client without any manners of its own: it sends exactly
// the frames it is told to, valid or not.
type wire struct {
	net.Conn
	reader *bufio.Reader
	mu     sync.Mutex // one frame at a time
}

// closed is the close frame of the server.
type closed struct{ code int }

func (c closed) Error() string { return fmt.Sprintf("closed with code %d", c.code) }

// dial opens a WebSocket to an edge.
func dial(t *testing.T, address string) *wire {
	t.Helper()
	w, err := open(t.Context(), address)
	if err != nil {
		t.Fatalf("connect to %s: %v", address, err)
	}
	t.Cleanup(func() { _ = w.Close() })
	return w
}

func open(ctx context.Context, address string) (*wire, error) {
	dialer := net.Dialer{Timeout: 5 * time.Second}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	w := &wire{Conn: conn, reader: bufio.NewReader(conn)}
	if err := w.upgrade(address); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return w, nil
}

func (w *wire) upgrade(host string) error {
	if err := w.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w.Conn, "GET /socket/websocket?vsn=2.0.0 HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", host)
	if err != nil {
		return err
	}
	response, err := http.ReadResponse(w.reader, nil)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusSwitchingProtocols {
		return fmt.Errorf("upgrade: %s", response.Status)
	}
	if got := response.Header.Get("Sec-WebSocket-Accept"); got != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
		return fmt.Errorf("upgrade: accept key %q", got)
	}
	return w.SetDeadline(time.Time{})
}

// frame builds a masked client frame. first is the first byte: FIN, reserved
// bits and opcode.
func frame(first byte, data []byte) []byte {
	out := []byte{first}
	switch n := len(data); {
	case n < 126:
		out = append(out, 0x80|byte(n))
	case n < 1<<16:
		out = binary.BigEndian.AppendUint16(append(out, 0x80|126), uint16(n))
	default:
		out = binary.BigEndian.AppendUint64(append(out, 0x80|127), uint64(n))
	}
	mask := [4]byte{0x12, 0x34, 0x56, 0x78}
	out = append(out, mask[:]...)
	for i, b := range data {
		out = append(out, b^mask[i%4])
	}
	return out
}

func (w *wire) send(op byte, data []byte) error { return w.raw(frame(0x80|op, data)) }

func (w *wire) text(data string) error { return w.send(opText, []byte(data)) }

func (w *wire) raw(bytes []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, err := w.Write(bytes)
	return err
}

// read returns the next message. It answers pings; a close frame is an error
// of type closed.
func (w *wire) read() (op byte, data []byte, err error) {
	for {
		op, data, err = w.readFrame()
		switch {
		case err != nil:
			return 0, nil, err
		case op == opPing:
			_ = w.send(opPong, data)
		case op == opClose && len(data) < 2:
			return op, nil, closed{1005}
		case op == opClose:
			return op, nil, closed{int(binary.BigEndian.Uint16(data))}
		default:
			return op, data, nil
		}
	}
}

func (w *wire) readFrame() (op byte, data []byte, err error) {
	var head [2]byte
	if _, err := io.ReadFull(w.reader, head[:]); err != nil {
		return 0, nil, err
	}
	if head[0]&0x70 != 0 || head[0]&0x80 == 0 || head[1]&0x80 != 0 {
		return 0, nil, fmt.Errorf("frame that this client cannot expect: % x", head)
	}
	size := uint64(head[1])
	extended := make([]byte, map[uint64]int{126: 2, 127: 8}[size])
	if _, err := io.ReadFull(w.reader, extended); err != nil {
		return 0, nil, err
	}
	if len(extended) > 0 {
		size = 0
		for _, b := range extended {
			size = size<<8 | uint64(b)
		}
	}
	data = make([]byte, size)
	_, err = io.ReadFull(w.reader, data)
	return head[0] & 0x0f, data, err
}

// ending reads until the connection ends and returns the close code, 1006 if
// it ended without one.
func (w *wire) ending(within time.Duration) (int, error) {
	_ = w.SetReadDeadline(time.Now().Add(within))
	for {
		_, _, err := w.read()
		var end closed
		var timeout net.Error
		switch {
		case err == nil:
		case errors.As(err, &end):
			return end.code, nil
		case errors.As(err, &timeout) && timeout.Timeout():
			return 0, fmt.Errorf("still open after %s", within)
		default:
			return 1006, nil
		}
	}
}
