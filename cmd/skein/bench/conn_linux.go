package bench

import (
	"bytes"
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // RFC 6455 wants it
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"time"
	"unsafe"
)

// Errors that end a socket.
var (
	errEnded = errors.New("closed without a close frame")
	errStuck = errors.New("does not take what is sent to it")
)

// state of a socket.
type state uint8

const (
	connecting state = iota
	shaking
	open
	dropped
)

// conn is one client's socket. It belongs to the loop, except for write.
type conn struct {
	edge    string
	path    string
	index   int
	topic   int // index of the only topic, in fan-out
	joins   int // confirmed so far
	asked   int // requested so far
	began   time.Time
	key     string
	opened  bool   // the upgrade was accepted
	rest    []byte // of a frame that has not come whole yet
	tally   tally
	pub     *publisher // set if it publishes
	list    *roster    // set if it follows who is online
	leaving bool       // it was told to leave its topic

	mu    sync.Mutex // guards the fields below
	fd    int
	state state
}

// request is the upgrade of RFC 6455, with headers as a browser would send.
func (c *conn) request() []byte {
	var key [16]byte
	_, _ = rand.Read(key[:]) // never fails
	c.key = base64.StdEncoding.EncodeToString(key[:])
	return fmt.Appendf(nil, "GET %s?vsn=2.0.0 HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Origin: http://%s\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) skein-bench\r\nAccept-Language: en\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n\r\n", c.path, c.edge, c.edge, c.key)
}

// acceptance is what a server must answer to a key.
func acceptance(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) //nolint:gosec // RFC 6455 wants it
	return base64.StdEncoding.EncodeToString(sum[:])
}

// response checks the answer to the upgrade. It returns its length, or 0 while
// it is not complete.
func (c *conn) response(b []byte) (int, error) {
	head, _, complete := bytes.Cut(b, []byte("\r\n\r\n"))
	if !complete {
		if len(b) > 16<<10 {
			return 0, errors.New("upgrade: endless answer")
		}
		return 0, nil
	}
	first, _, _ := bytes.Cut(head, []byte("\r\n"))
	if !bytes.HasPrefix(first, []byte("HTTP/1.1 101")) {
		return 0, fmt.Errorf("upgrade refused: %s", first)
	}
	if !bytes.Contains(head, []byte(acceptance(c.key))) {
		return 0, errors.New("upgrade: wrong Sec-WebSocket-Accept")
	}
	return len(head) + 4, nil
}

// keep stores what is left of a read until more comes.
func (c *conn) keep(b []byte, err error) error {
	c.rest = append(c.rest[:0], b...)
	if len(b) == 0 {
		c.rest = nil // an idle socket holds nothing
	}
	return err
}

// write sends all of b. It waits a little when the server does not read, and
// may be called by any goroutine.
func (c *conn) write(b []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	deadline := time.Time{}
	for len(b) > 0 {
		if c.state == dropped {
			return errEnded
		}
		n, err := rawWrite(c.fd, b)
		if n > 0 {
			b = b[n:]
		}
		switch {
		case err == nil:
			continue
		case !errors.Is(err, syscall.EAGAIN):
			return fmt.Errorf("write: %w", err)
		case deadline.IsZero():
			deadline = time.Now().Add(5 * time.Second)
		case time.Now().After(deadline):
			return errStuck
		}
		wait(time.Millisecond)
	}
	return nil
}

// wait blocks the calling goroutine.
func wait(d time.Duration) { <-time.After(d) }

// drop closes the socket at once.
func (c *conn) drop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state != dropped {
		_ = syscall.Close(c.fd)
		c.state = dropped
	}
}

// closed turns a close frame into an error.
func closed(payload []byte) error {
	if len(payload) < 2 {
		return errors.New("closed by the server")
	}
	return fmt.Errorf("closed by the server with %d %q", binary.BigEndian.Uint16(payload), payload[2:])
}

// rawIO reads or writes without telling the scheduler.
func rawIO(trap uintptr, fd int, b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	n, _, code := syscall.RawSyscall(trap, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
	if code != 0 {
		return 0, code
	}
	return int(n), nil
}
