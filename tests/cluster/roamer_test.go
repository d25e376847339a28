package cluster

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/skein-mesh/skein/pkg/wsframe"
)

// crowd is clients that come back when they are closed, as phoenix.js does: some
// 10 ms later, without jitter.
type crowd struct {
	balancer *balancer
	stop     context.CancelFunc
	running  sync.WaitGroup

	mu      sync.Mutex           // guards the fields below
	at      map[int]string       // edge of each client that is joined
	joins   int                  // so far
	refused int                  // attempts that got no socket
	codes   map[wsframe.Code]int // of close frames
	left    int                  // people who were said to have left
}

// crowdTopic is where everybody is, as a person.
const crowdTopic = "presence:lobby"

// gather starts n clients and waits until all are joined.
func (b *balancer) gather(n int) *crowd {
	ctx, stop := context.WithCancel(context.Background())
	c := &crowd{balancer: b, stop: stop, at: map[int]string{}, codes: map[wsframe.Code]int{}}
	for i := range n {
		c.running.Go(func() { c.roam(ctx, i) })
	}
	t := b.fleet.t
	eventually(t, time.Minute, fmt.Sprint(n, " clients joined"), func() bool { return c.here() == n })
	return c
}

func (c *crowd) end() {
	c.stop()
	c.running.Wait()
}

// here is how many are joined now.
func (c *crowd) here() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.at)
}

// counts are the clients of each edge.
func (c *crowd) counts() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	counts := map[string]int{}
	for _, edge := range c.at {
		counts[edge]++
	}
	return counts
}

// rejoins is how often clients came back.
func (c *crowd) rejoins() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.joins - len(c.at)
}

// roam keeps one client connected until ctx ends.
func (c *crowd) roam(ctx context.Context, i int) {
	retries := []int{10, 50, 100, 150, 200, 250, 500, 1000, 2000} // phoenix.js, in milliseconds
	for tries := 0; ctx.Err() == nil; {
		if c.visit(ctx, i) {
			tries = 0
		}
		wait := 5000 * time.Millisecond
		if tries < len(retries) {
			wait = time.Duration(retries[tries]) * time.Millisecond
		}
		tries++
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// visit is one life of a socket. It reports whether there was one.
func (c *crowd) visit(ctx context.Context, i int) bool {
	conn, edge, err := c.balancer.dial(ctx, fmt.Sprintf("10.9.%d.%d", i/200, i%200))
	if err == nil {
		defer conn.Close()
		defer context.AfterFunc(ctx, func() { conn.Close() })()
		var read *bufio.Reader
		if read, err = upgrade(conn); err == nil {
			c.stay(conn, read, i, edge)
			return true
		}
	}
	if ctx.Err() == nil {
		c.mu.Lock()
		c.refused++
		c.mu.Unlock()
	}
	return false
}

// upgrade makes a WebSocket of a connection.
func upgrade(conn net.Conn) (*bufio.Reader, error) {
	fmt.Fprint(conn, handshake)
	read := bufio.NewReader(conn)
	resp, err := http.ReadResponse(read, nil)
	if err == nil && resp.StatusCode != http.StatusSwitchingProtocols {
		err = fmt.Errorf("upgrade: %s", resp.Status)
	}
	return read, err
}

const handshake = "GET /socket/websocket?vsn=2.0.0 HTTP/1.1\r\nHost: skein\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"

// stay joins the topic and listens until the socket ends.
func (c *crowd) stay(conn net.Conn, read *bufio.Reader, i int, edge string) {
	write := func(op wsframe.Opcode, payload []byte) {
		conn.Write(wsframe.AppendClient(nil, op, true, [4]byte{1, 2, 3, 4}, payload))
	}
	write(wsframe.Text, fmt.Appendf(nil, `["1","1",%q,"phx_join",{"user_id":"u%d"}]`, crowdTopic, i))
	beat := time.NewTicker(30 * time.Second)
	defer beat.Stop()
	over := make(chan struct{})
	defer close(over)
	go func() {
		for {
			select {
			case <-over:
				return
			case <-beat.C:
				write(wsframe.Text, []byte(`[null,"2","phoenix","heartbeat",{}]`))
			}
		}
	}()
	defer c.gone(i)
	seen := online{}
	for {
		op, payload, err := readFrame(read)
		switch {
		case err != nil:
			return
		case op == wsframe.Close:
			c.closed(payload)
			write(wsframe.Close, payload)
			return
		case op == wsframe.Text:
			c.heard(i, edge, string(payload), seen)
		}
	}
}

func (c *crowd) gone(i int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.at, i)
}

func (c *crowd) closed(payload []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(payload) >= 2 {
		c.codes[wsframe.Code(binary.BigEndian.Uint16(payload))]++
	}
}

// heard takes in one message.
func (c *crowd) heard(i int, edge, text string, seen online) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case strings.HasPrefix(text, `["1","1",`) && strings.Contains(text, `"status":"ok"`): // the join
		c.at[i] = edge
		c.joins++
	default:
		c.left += seen.take(text)
	}
}

// online is who a client sees, as phoenix.js keeps it: refs by key.
type online map[string]map[string]bool

// entries are people as presence_state and presence_diff list them.
type entries map[string]struct {
	Metas []struct {
		Ref string `json:"phx_ref"`
	}
}

// take takes in a message and returns how many people are gone now: of a person
// that moves, the new ref comes before the old one goes, or with it.
func (o online) take(text string) (gone int) {
	var parts [5]json.RawMessage
	if json.Unmarshal([]byte(text), &parts) != nil {
		return 0
	}
	var diff struct{ Joins, Leaves entries }
	switch string(parts[3]) {
	case `"presence_state"`:
		_ = json.Unmarshal(parts[4], &diff.Joins)
	case `"presence_diff"`:
		_ = json.Unmarshal(parts[4], &diff)
	}
	for key, e := range diff.Joins {
		if o[key] == nil {
			o[key] = map[string]bool{}
		}
		for _, m := range e.Metas {
			o[key][m.Ref] = true
		}
	}
	for key, e := range diff.Leaves {
		for _, m := range e.Metas {
			delete(o[key], m.Ref)
		}
		if len(o[key]) == 0 {
			gone++
		}
	}
	return gone
}
