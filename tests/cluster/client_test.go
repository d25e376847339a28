package cluster

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/skein-mesh/skein/pkg/wsframe"
)

// client is a Phoenix client: one WebSocket, V2 text frames.
type client struct {
	t    *testing.T
	conn net.Conn
	read *bufio.Reader
	done chan struct{} // closed when the socket is gone

	mu       sync.Mutex // guards the fields below
	ref      int
	joinRefs map[string]string
	replies  map[string]string // status by ref
	got      []message         // in order of arrival
	numbered map[string][]int  // numbers of [client.push], by "topic event"
	code     wsframe.Code      // of the close frame
}

// message is what the server sent; of a reply, payload is its ref.
type message struct {
	topic, event string
	payload      string
}

// connect opens a socket at an edge and keeps it alive until the test ends.
func (c *fleet) connect(e *edgeNode) *client {
	c.t.Helper()
	raw, err := c.network.dial(c.t.Context(), "10.9.9.9", e.clients)
	if err != nil {
		c.t.Fatal(err)
	}
	read, err := upgrade(raw)
	if err != nil {
		c.t.Fatal(err)
	}
	cl := &client{
		t: c.t, conn: raw, read: read, done: make(chan struct{}),
		joinRefs: map[string]string{}, replies: map[string]string{}, numbered: map[string][]int{},
	}
	go cl.receive()
	go cl.beat()
	c.clients = append(c.clients, cl)
	return cl
}

func (c *client) receive() {
	defer close(c.done)
	for {
		op, payload, err := readFrame(c.read)
		if err != nil {
			return
		}
		switch op {
		case wsframe.Text:
			c.take(payload)
		case wsframe.Close:
			c.mu.Lock()
			if len(payload) >= 2 {
				c.code = wsframe.Code(binary.BigEndian.Uint16(payload))
			}
			c.mu.Unlock()
			c.write(wsframe.Close, payload)
			c.conn.Close()
			return
		}
	}
}

// readFrame reads one unmasked frame.
func readFrame(r io.Reader) (wsframe.Opcode, []byte, error) {
	var head [10]byte
	if _, err := io.ReadFull(r, head[:2]); err != nil {
		return 0, nil, err
	}
	n := uint64(head[1])
	switch n {
	case 126:
		if _, err := io.ReadFull(r, head[2:4]); err != nil {
			return 0, nil, err
		}
		n = uint64(binary.BigEndian.Uint16(head[2:4]))
	case 127:
		if _, err := io.ReadFull(r, head[2:10]); err != nil {
			return 0, nil, err
		}
		n = binary.BigEndian.Uint64(head[2:10])
	}
	payload := make([]byte, n)
	_, err := io.ReadFull(r, payload)
	return wsframe.Opcode(head[0] & 0x0f), payload, err
}

func (c *client) take(frame []byte) {
	var parts [5]json.RawMessage
	if err := json.Unmarshal(frame, &parts); err != nil {
		c.t.Errorf("frame %s: %v", frame, err)
		return
	}
	text := func(i int) string { return strings.Trim(string(parts[i]), `"`) } // no name here needs escapes
	ref, topic, event, payload := text(1), text(2), text(3), string(parts[4])
	c.mu.Lock()
	defer c.mu.Unlock()
	if event != "phx_reply" {
		c.got = append(c.got, message{topic, event, payload})
		if n, err := strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(payload, `{"n":`), "}")); err == nil {
			c.numbered[topic+" "+event] = append(c.numbered[topic+" "+event], n)
		}
		return
	}
	status := "error"
	if strings.Contains(payload, `"status":"ok"`) {
		status = "ok"
		c.got = append(c.got, message{topic, "reply", ref}) // its place among the broadcasts
	}
	if _, twice := c.replies[ref]; twice {
		c.t.Errorf("second reply to %s: %s", ref, frame)
	}
	c.replies[ref] = status
}

func (c *client) write(op wsframe.Opcode, payload []byte) {
	c.conn.Write(wsframe.AppendClient(nil, op, true, [4]byte{1, 2, 3, 4}, payload))
}

// send sends one message and returns its ref.
func (c *client) send(topic, event, payload string) string {
	c.mu.Lock()
	c.ref++
	ref := strconv.Itoa(c.ref)
	if event == "phx_join" {
		c.joinRefs[topic] = ref
	}
	joinRef := strconv.Quote(c.joinRefs[topic])
	if topic == "phoenix" {
		joinRef = "null"
	}
	c.mu.Unlock()
	c.write(wsframe.Text, fmt.Appendf(nil, `[%s,%q,%q,%q,%s]`, joinRef, ref, topic, event, payload))
	return ref
}

func (c *client) beat() {
	tick := time.NewTicker(30 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-c.done:
			return
		case <-tick.C:
			c.send("phoenix", "heartbeat", "{}")
		}
	}
}

// reply is the status of the answer to ref, "" before it came.
func (c *client) reply(ref string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.replies[ref]
}

// wait returns the answer to ref.
func (c *client) wait(ref string) string {
	c.t.Helper()
	eventually(c.t, 12*time.Second, "a reply to "+ref, func() bool { return c.reply(ref) != "" })
	return c.reply(ref)
}

func (c *client) join(topic string) {
	c.t.Helper()
	if status := c.wait(c.send(topic, "phx_join", "{}")); status != "ok" {
		c.t.Fatalf("join of %s: %s", topic, status)
	}
}

// push sends a numbered message; see [client.numbers].
func (c *client) push(topic, from string, n int) string {
	return c.send(topic, from, fmt.Sprintf(`{"n":%d}`, n))
}

// payloads returns the payloads of a topic's event so far.
func (c *client) payloads(topic, event string) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []string
	for _, m := range c.got {
		if m.topic == topic && m.event == event {
			all = append(all, m.payload)
		}
	}
	return all
}

// numbers returns the numbers of a topic's event so far.
func (c *client) numbers(topic, event string) []int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clip(c.numbered[topic+" "+event])
}

// order returns "event payload" of everything of a topic.
func (c *client) order(topic string) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []string
	for _, m := range c.got {
		if m.topic == topic {
			all = append(all, m.event+" "+m.payload)
		}
	}
	return all
}

func (c *client) alive() bool {
	select {
	case <-c.done:
		return false
	default:
		return true
	}
}

func (c *client) closeCode() wsframe.Code {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.code
}

// stop ends the socket.
func (c *client) stop() {
	c.conn.Close()
	<-c.done
}

func eventually(t *testing.T, within time.Duration, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(within); !ok(); time.Sleep(5 * time.Millisecond) { // virtual time
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", within, what)
		}
	}
}
