// Package wsclient is a WebSocket client without any manners of its own, for
// tests: it sends exactly the bytes it is told to, valid or not, and shows the
// frames that come back.
package wsclient

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// Opcodes of frames.
const (
	Continuation = 0x0
	Text         = 0x1
	Binary       = 0x2
	Close        = 0x8
	Ping         = 0x9
	Pong         = 0xa
)

// Bits of a frame's first byte.
const (
	Fin     = 0x80
	Deflate = 0x40 // RSV1: the message is compressed
)

// Path is where stock clients of version 2.0.0 connect.
const Path = "/socket/websocket?vsn=2.0.0"

// The key of every upgrade and what the server makes of it.
const (
	key    = "dGhlIHNhbXBsZSBub25jZQ=="
	accept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
)

// Conn is one WebSocket. One goroutine may read while any number send.
type Conn struct {
	net.Conn

	// Owned by the reader.
	reader *bufio.Reader

	mu sync.Mutex // one frame at a time
}

// ClosedError is the close frame of the server.
type ClosedError struct {
	Code int // 1005 if the frame has none
}

func (c ClosedError) Error() string { return fmt.Sprintf("closed with code %d", c.Code) }

// Answer is what HTTP says to an upgrade.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte // nil when there is a socket
}

// Open opens a WebSocket at [Path]. The context bounds the connecting only.
func Open(ctx context.Context, address string) (*Conn, error) {
	conn, answer, err := Upgrade(ctx, address, Path, nil)
	if err == nil && conn == nil {
		err = fmt.Errorf("upgrade: status %d", answer.Status)
	}
	return conn, err
}

// Upgrade asks for a WebSocket. There is a Conn if the answer has status 101. The header's lines replace
// the usual ones of the same name; one with no values takes it away.
func Upgrade(ctx context.Context, address, path string, header http.Header) (*Conn, Answer, error) {
	dialer := net.Dialer{Timeout: 5 * time.Second}
	tcp, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, Answer{}, err
	}
	return UpgradeOver(tcp, address, path, header)
}

// UpgradeOver is [Upgrade] over a connection to host that stands, such as one
// with TLS. It is closed if no socket comes of it.
func UpgradeOver(conn net.Conn, host, path string, header http.Header) (*Conn, Answer, error) {
	c := &Conn{Conn: conn, reader: bufio.NewReader(conn)}
	answer, err := c.upgrade(path, upgradeHeader(host, header))
	if err != nil || answer.Status != http.StatusSwitchingProtocols {
		_ = conn.Close()
		return nil, answer, err
	}
	return c, answer, nil
}

func upgradeHeader(host string, replaced http.Header) http.Header {
	header := http.Header{
		"Host": {host}, "Upgrade": {"websocket"}, "Connection": {"Upgrade"},
		"Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {key},
	}
	for name, values := range replaced {
		header[http.CanonicalHeaderKey(name)] = values
	}
	return header
}

func (c *Conn) upgrade(path string, header http.Header) (Answer, error) {
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return Answer{}, err
	}
	var request bytes.Buffer
	fmt.Fprintf(&request, "GET %s HTTP/1.1\r\n", path)
	if err := header.Write(&request); err != nil {
		return Answer{}, err
	}
	request.WriteString("\r\n")
	if _, err := c.Write(request.Bytes()); err != nil {
		return Answer{}, err
	}
	response, err := http.ReadResponse(c.reader, nil)
	if err != nil {
		return Answer{}, err
	}
	answer := Answer{Status: response.StatusCode, Header: response.Header}
	if response.StatusCode != http.StatusSwitchingProtocols {
		answer.Body, err = io.ReadAll(io.LimitReader(response.Body, 1<<20))
		_ = response.Body.Close()
		return answer, err
	}
	if got := response.Header.Get("Sec-WebSocket-Accept"); got != accept && header.Get("Sec-WebSocket-Key") == key {
		return answer, fmt.Errorf("upgrade: accept key %q", got)
	}
	return answer, c.SetDeadline(time.Time{})
}

// Frame builds a masked client frame. first is its first byte: [Fin], reserved
// bits and opcode.
func Frame(first byte, data []byte) []byte {
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

// Send sends one whole frame.
func (c *Conn) Send(op byte, data []byte) error { return c.Raw(Frame(Fin|op, data)) }

// Text sends a text frame.
func (c *Conn) Text(data string) error { return c.Send(Text, []byte(data)) }

// Raw sends bytes as they are, not mixed with those of another call.
func (c *Conn) Raw(data []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, err := c.Write(data)
	return err
}

// Read returns the next message. It answers pings; a close frame is an error of
// type [ClosedError].
func (c *Conn) Read() (op byte, data []byte, err error) {
	for {
		first, data, err := c.ReadFrame()
		if err != nil {
			return 0, nil, err
		}
		if first&Fin == 0 || first&0x70 != 0 {
			return 0, nil, fmt.Errorf("frame that this client cannot expect: first byte %#x", first)
		}
		switch op := first & 0x0f; op {
		case Ping:
			_ = c.Send(Pong, data)
		case Close:
			return op, nil, CloseOf(data)
		default:
			return op, data, nil
		}
	}
}

// CloseOf reads the data of a close frame.
func CloseOf(data []byte) ClosedError {
	if len(data) < 2 {
		return ClosedError{Code: 1005}
	}
	return ClosedError{Code: int(binary.BigEndian.Uint16(data))}
}

// ReadFrame returns the next frame whatever it is: its first byte and its data.
func (c *Conn) ReadFrame() (first byte, data []byte, err error) {
	var head [2]byte
	if _, err := io.ReadFull(c.reader, head[:]); err != nil {
		return 0, nil, err
	}
	if head[1]&0x80 != 0 {
		return 0, nil, fmt.Errorf("a server must not mask its frames: % x", head)
	}
	size := uint64(head[1])
	extended := make([]byte, map[uint64]int{126: 2, 127: 8}[size])
	if _, err := io.ReadFull(c.reader, extended); err != nil {
		return 0, nil, err
	}
	if len(extended) > 0 {
		size = 0
		for _, b := range extended {
			size = size<<8 | uint64(b)
		}
	}
	data = make([]byte, size)
	_, err = io.ReadFull(c.reader, data)
	return head[0], data, err
}

// Ending reads until the connection ends and returns the close code, 1006 if
// it ended without one.
func (c *Conn) Ending(within time.Duration) (int, error) {
	_ = c.SetReadDeadline(time.Now().Add(within))
	for {
		_, _, err := c.Read()
		var end ClosedError
		var timeout net.Error
		switch {
		case err == nil:
		case errors.As(err, &end):
			return end.Code, nil
		case errors.As(err, &timeout) && timeout.Timeout():
			return 0, fmt.Errorf("still open after %s", within)
		default:
			return 1006, nil
		}
	}
}
