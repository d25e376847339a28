//go:build e2e

package e2e

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	gopsutil "github.com/shirou/gopsutil/v4/process"

	"github.com/skein-mesh/skein/tests/process"
	"github.com/skein-mesh/skein/tests/wsclient"
)

// neighbour is a pair of well-behaved clients, both on the edge under attack,
// that exchange a message every 20 ms and notice any disturbance.
type neighbour struct {
	sender, receiver *client
	ledger           *ledger
	stop             chan struct{}
	done             sync.WaitGroup

	mu    sync.Mutex
	trips []time.Duration
}

const neighbourTopic = "room:neighbour"

func newNeighbour(t *testing.T, e *edge) *neighbour {
	t.Helper()
	n := &neighbour{ledger: newLedger(), stop: make(chan struct{})}
	n.receiver = connect(t, e, n.ledger.subscriber("the neighbour"))
	n.sender = connect(t, e, nil)
	n.receiver.join(t, neighbourTopic)
	n.sender.join(t, neighbourTopic)
	n.done.Go(n.talk)
	return n
}

func (n *neighbour) talk() {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		start := time.Now()
		if err := n.sender.push(neighbourTopic, "n", n.ledger.next("neighbour", neighbourTopic)); err != nil {
			n.ledger.problemf("the neighbour's push failed: %v", err)
			return
		}
		n.mu.Lock()
		n.trips = append(n.trips, time.Since(start))
		n.mu.Unlock()
		select {
		case <-n.stop:
			return
		case <-tick.C:
		}
	}
}

// undisturbed ends the conversation and fails the test if it suffered.
func (n *neighbour) undisturbed(t *testing.T) {
	t.Helper()
	process.Eventually(t, 20*time.Second, "the neighbour talked for a while", func() bool {
		n.mu.Lock()
		defer n.mu.Unlock()
		return len(n.trips) >= 50 || n.sender.err() != nil
	})
	close(n.stop)
	n.done.Wait()
	n.ledger.check(t)
	n.sender.stays(t, "the neighbour")
	n.receiver.stays(t, "the neighbour")
	slices.Sort(n.trips)
	t.Logf("%d round trips of the neighbour: median %s, longest %s", len(n.trips), n.trips[len(n.trips)/2], n.trips[len(n.trips)-1])
	if longest := n.trips[len(n.trips)-1]; longest > 5*time.Second { // a stall, whatever the machine
		t.Errorf("the neighbour waited %s", longest)
	}
}

// TestHostileClientsDisturbNobody runs one attack after another on an edge
// while neighbours talk.
func TestHostileClientsDisturbNobody(t *testing.T) {
	f := startFleet(t, "--compress", "--sockets-per-ip", "1500", "--longpoll-window", "1s")
	before := f.edges[0].memory(t)
	for _, attack := range append([]attack{
		{"garbage", garbage},
		{"broken frames", brokenFrames},
		{"oversized frame", oversizedFrame},
		{"oversized message in fragments", oversizedMessage},
		{"compressed bomb that was not negotiated", compressedBomb},
		{"slow reader", slowReader},
		{"slow head", slowHead},
		{"1000 half-open connections", halfOpen},
		{"sockets that vanish", vanish},
		{"flood of joins", joinFlood},
		{"names that hurt logs", hostileNames},
	}, furtherAttacks()...) {
		t.Run(attack.name, func(t *testing.T) {
			n := newNeighbour(t, f.edges[0])
			attack.run(t, f)
			n.undisturbed(t)
			newcomer := connect(t, f.edges[0], nil)
			newcomer.join(t, "room:newcomer")
		})
	}
	if grown := f.edges[0].memory(t) - before; grown > 256<<20 {
		t.Errorf("the edge grew by %d MiB", grown>>20)
	}
}

// attack is something that no honest client does.
type attack struct {
	name string
	run  func(*testing.T, *fleet)
}

// memory is what the edge's process has in memory, in bytes.
func (e *edge) memory(t *testing.T) int64 {
	t.Helper()
	p, err := gopsutil.NewProcess(int32(e.Cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	info, err := p.MemoryInfo()
	if err != nil {
		t.Fatal(err)
	}
	return int64(info.RSS)
}

// expectEnd fails unless the server ends the socket with one of the codes.
func expectEnd(t *testing.T, w *wsclient.Conn, codes ...int) {
	t.Helper()
	code, err := w.Ending(20 * time.Second)
	if err != nil || !slices.Contains(codes, code) {
		t.Errorf("the socket ended with %d, %v; want one of %v", code, err, codes)
	}
	_ = w.Close()
}

func garbage(t *testing.T, f *fleet) {
	for _, text := range []string{
		"", "hello", "null", "{}", "[]", `["1","1","room:a","phx_join"]`, `["1","1","room:a","phx_join",{`,
		strings.Repeat("[", 5000), `["1","1","room:a","e",{"a":"\ud800"}]`, "\"\x00\"", `["1","1","room:a","e",1e999]`,
	} {
		w := dial(t, f.edges[0].listen)
		_ = w.Text(text)
		expectEnd(t, w, 1011)
	}
	for _, data := range [][]byte{{}, {0}, {9, 9, 9}, {0, 255, 255, 255, 255}, {1, 1, 1, 1, 1, 'a'}, {2, 1, 1, 'a', 'b', 'c'}} {
		w := dial(t, f.edges[0].listen)
		_ = w.Send(wsclient.Binary, data)
		expectEnd(t, w, 1011)
	}
	for range 50 {
		noise := make([]byte, 4096)
		_, _ = rand.Read(noise)
		w := dial(t, f.edges[0].listen)
		_ = w.Raw(noise)
		_ = w.Raw(noise)
		_ = w.Close()
	}
}

func brokenFrames(t *testing.T, f *fleet) {
	beat := []byte(`[null,"1","phoenix","heartbeat",{}]`)
	unmasked := append([]byte{0x81, byte(len(beat))}, beat...)
	for name, c := range map[string]struct {
		frame []byte
		codes []int
	}{
		"not masked":            {unmasked, []int{1002}},
		"reserved bit":          {wsclient.Frame(0xC1, beat), []int{1002}},
		"reserved opcode":       {wsclient.Frame(0x83, beat), []int{1002}},
		"orphan continuation":   {wsclient.Frame(0x80, beat), []int{1002}},
		"fragmented ping":       {wsclient.Frame(0x09, []byte("x")), []int{1002}},
		"ping of 126 bytes":     {wsclient.Frame(0x89, make([]byte, 126)), []int{1002}},
		"text inside fragments": {slices.Concat(wsclient.Frame(0x01, beat[:5]), wsclient.Frame(0x81, beat)), []int{1002}},
		"text that is no UTF-8": {wsclient.Frame(0x81, []byte("[null,\"1\",\"phoenix\",\"\xff\",{}]")), []int{1007, 1011, 1002}},
		"invalid close code":    {wsclient.Frame(0x88, []byte{0x03, 0xED}), []int{1002}},
		"negative length":       {[]byte{0x81, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1, 2, 3, 4}, []int{1002, 1009}},
	} {
		t.Run(name, func(t *testing.T) {
			w := dial(t, f.edges[0].listen)
			_ = w.Raw(c.frame)
			expectEnd(t, w, c.codes...)
		})
	}
}

func oversizedFrame(t *testing.T, f *fleet) {
	for range 20 {
		w := dial(t, f.edges[0].listen)
		_ = w.Raw([]byte{0x81, 0xFF, 0, 0, 0x01, 0, 0, 0, 0, 0, 1, 2, 3, 4}) // announces a terabyte
		for range 100 {
			if w.Raw(make([]byte, 10_000)) != nil {
				break
			}
		}
		expectEnd(t, w, 1009, 1006)
	}
}

func oversizedMessage(t *testing.T, f *fleet) {
	w := dial(t, f.edges[0].listen)
	_ = w.Raw(wsclient.Frame(0x01, []byte(`[null,"1","room:a","e",{"x":"`)))
	chunk := bytes.Repeat([]byte("x"), 60_000)
	for range 2000 { // 120 MB in fragments, each within any limit
		if w.Raw(wsclient.Frame(0x00, chunk)) != nil {
			break
		}
	}
	expectEnd(t, w, 1009, 1006)
}

func compressedBomb(t *testing.T, f *fleet) {
	for range 20 {
		w := dial(t, f.edges[0].listen)
		_ = w.Raw(wsclient.Frame(0xC1, bytes.Repeat([]byte{0x4c, 0x80, 0x00}, 1000)))
		expectEnd(t, w, 1002)
	}
}

// slowReader joins a busy topic and stops reading. It must be closed, and its
// fast twin must get everything.
func slowReader(t *testing.T, f *fleet) {
	const topic, count = "room:busy", 4000
	slow := dial(t, f.edges[0].listen)
	_ = slow.Text(`["1","1","` + topic + `","phx_join",{}]`)
	if _, _, err := slow.Read(); err != nil {
		t.Fatal(err)
	}
	var got atomic.Int64
	twin := connect(t, f.edges[0], func(message) { got.Add(1) })
	twin.join(t, topic)
	busy := connect(t, f.edges[1], nil)
	busy.join(t, topic)
	padding := strings.Repeat("x", 4000)
	for i := range count {
		err := busy.ask(topic, "flood", map[string]any{"i": i, "padding": padding}, func(status string, response json.RawMessage) {
			if status != "ok" {
				t.Errorf("push %d: %s %s", i, status, response)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		if i%20 == 19 { // at a pace that a good client keeps up with, on any machine
			process.Eventually(t, 20*time.Second, "the twin gets everything", func() bool { return got.Load() == int64(i+1) || twin.err() != nil })
		}
	}
	twin.stays(t, "the twin")
	// What the kernel kept is read first, then the end shows.
	expectEnd(t, slow, 1013, 1006)
}

// slowHead sends the head of its request a byte at a time, for ever.
func slowHead(t *testing.T, f *fleet) {
	var drips sync.WaitGroup
	for range 50 {
		conn, err := net.DialTimeout("tcp", f.edges[0].listen, 5*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		drips.Go(func() { drip(conn) })
	}
	within(t, 45*time.Second, "every slow head was given up", drips.Wait)
}

func drip(conn net.Conn) {
	ended := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, conn)
		close(ended)
	}()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	_, _ = io.WriteString(conn, "GET /socket/websocket?vsn=2.0.0 HTTP/1.1\r\nX-Slow: ")
	for {
		select {
		case <-ended:
			return
		case <-tick.C:
			if _, err := io.WriteString(conn, "a"); err != nil {
				return
			}
		}
	}
}

func halfOpen(t *testing.T, f *fleet) {
	for i := range 1000 {
		conn, err := net.DialTimeout("tcp", f.edges[0].listen, 5*time.Second)
		if err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		if i%2 == 0 {
			_, _ = io.WriteString(conn, "GET /socket/websocket?vsn=2.0.0 HTTP/1.1\r\n")
		}
	}
	pass(t, 2*time.Second)
}

// vanish leaves joined sockets without a goodbye, in the middle of frames.
func vanish(t *testing.T, f *fleet) {
	for range 100 {
		w := dial(t, f.edges[0].listen)
		_ = w.Text(`["1","1","` + neighbourTopic + `","phx_join",{}]`)
		_ = w.Raw([]byte{0x81, 0xFE, 0x10})
		if tcp, ok := w.Conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0) // a reset
		}
		_ = w.Close()
	}
}

func joinFlood(t *testing.T, f *fleet) {
	var joins sync.WaitGroup
	flood := connect(t, f.edges[0], nil)
	var mu sync.Mutex
	counts := map[string]int{}
	for i := range 5000 {
		joins.Add(1)
		err := flood.ask(fmt.Sprintf("flood:%d", i), "phx_join", struct{}{}, func(status string, _ json.RawMessage) {
			mu.Lock()
			counts[status]++
			mu.Unlock()
			joins.Done()
		})
		if err != nil {
			if errors.Is(err, net.ErrClosed) || flood.err() != nil {
				break // cutting off a flood is fine, too
			}
			t.Fatal(err)
		}
	}
	answered := make(chan struct{})
	go func() { joins.Wait(); close(answered) }()
	select {
	case <-answered:
	case <-flood.gone: // cutting off who does not read as fast as it asks is fine, too
		t.Logf("the flood was cut off: %v", flood.err())
	case <-time.After(30 * time.Second):
		t.Error("joins were not answered")
	}
	mu.Lock()
	defer mu.Unlock()
	if counts["ok"] != 100 {
		t.Errorf("%d joins of one socket were accepted, want 100", counts["ok"])
	}
}

// hostileNames puts control characters and terminal codes where logs and
// labels might take them from.
func hostileNames(t *testing.T, f *fleet) {
	evil := "room:\x1b[2J\u202e\n{\"level\":\"ERROR\"}\x00"
	c := connect(t, f.edges[0], nil)
	c.join(t, evil)
	if err := c.push(evil, "e\x1b[31m\r\n", map[string]string{"\x1b": evil}); err != nil {
		t.Error(err)
	}
	request := "GET /\x1b[31m HTTP/1.1\r\nHost: \x1b[2J\r\nUser-Agent: a\x1bb\r\n\r\n"
	conn, err := net.DialTimeout("tcp", f.edges[0].listen, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close() // done with it
	_, _ = io.WriteString(conn, request)
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	_, _ = conn.Read(make([]byte, 1024))
	for _, p := range []*process.Process{f.edges[0].Process, f.routers[0].Process, f.presence.Process} {
		if strings.Contains(p.Output.String(), "\x1b") {
			t.Errorf("the log of %s has raw control characters", p.ID)
		}
	}
}
