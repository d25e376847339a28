//go:build e2e

package compose

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"
)

// node is a process of Node in which visitors live: clients of npm phoenix, as
// visitors.mjs makes them. All methods may be called concurrently.
type node struct {
	ended chan struct{} // closed when its output ends

	orders sync.Mutex // one at a time
	input  io.WriteCloser

	// mu guards the fields below, and those of visitors.
	mu       sync.Mutex
	visitors []*visitor
	changed  chan struct{} // closed, and made anew, when any of them changes
}

// visitor is one client with one channel.
type visitor struct {
	node *node
	id   int

	// Guarded by node.mu.
	joined   bool
	lost     int             // how often its channel erred, as it does when its socket closes
	heard    map[string]bool // texts
	answered map[string]bool // texts it said, and whether they were accepted
	notes    []string        // why sockets closed and joins failed
}

// startNode starts Node, which ends with the test.
func startNode(t *testing.T) *node {
	t.Helper()
	if _, err := os.Stat(root + "/tests/phoenixjs/node_modules"); err != nil {
		t.Fatalf("%v: run npm ci in tests/phoenixjs first", err)
	}
	cmd := exec.Command("node", "visitors.mjs")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	input, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	output, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	n := &node{input: input, ended: make(chan struct{}), changed: make(chan struct{})}
	go n.read(output)
	t.Cleanup(func() {
		kill := time.AfterFunc(10*time.Second, func() { _ = cmd.Process.Kill() })
		defer kill.Stop()
		_ = input.Close() // it may have ended already; Wait says so
		<-n.ended
		if err := cmd.Wait(); err != nil {
			t.Errorf("visitors.mjs: %v\n%s", err, tail(stderr.String(), 20))
		}
	})
	return n
}

// read takes what visitors tell until the output ends.
func (n *node) read(output io.Reader) {
	defer close(n.ended)
	for lines := bufio.NewScanner(output); lines.Scan(); {
		var told struct {
			Visitor    int
			What, Text string
		}
		if json.Unmarshal(lines.Bytes(), &told) != nil {
			return // what it says is not for this; the test sees that it ended
		}
		n.mu.Lock()
		n.visitors[told.Visitor].take(told.What, told.Text)
		close(n.changed)
		n.changed = make(chan struct{})
		n.mu.Unlock()
	}
}

func (v *visitor) take(what, text string) {
	switch what {
	case "joined":
		v.joined = true
	case "lost":
		v.joined = false
		v.lost++
	case "heard":
		v.heard[text] = true
	case "accepted", "rejected":
		v.answered[text] = what == "accepted"
	default:
		v.notes = append(v.notes, what+" "+text)
	}
}

// order tells visitors.mjs to do something.
func (n *node) order(order map[string]any) error {
	line, err := json.Marshal(order)
	if err != nil {
		return err
	}
	n.orders.Lock()
	defer n.orders.Unlock()
	_, err = n.input.Write(append(line, '\n'))
	return err
}

// visit has somebody open a socket at an address and join a topic.
func (n *node) visit(t *testing.T, address, topic string, params map[string]string) *visitor {
	t.Helper()
	n.mu.Lock()
	v := &visitor{node: n, id: len(n.visitors), heard: map[string]bool{}, answered: map[string]bool{}}
	n.visitors = append(n.visitors, v)
	n.mu.Unlock()
	if err := n.order(map[string]any{
		"order": "visit", "visitor": v.id, "url": "ws://" + address + "/socket", "topic": topic, "params": params,
	}); err != nil {
		t.Fatal(err)
	}
	return v
}

// await waits until check, which may look at all visitors, has no error, and
// returns its last one when time is up.
func (n *node) await(within time.Duration, check func() error) error {
	deadline := time.NewTimer(within)
	defer deadline.Stop()
	for {
		n.mu.Lock()
		err, changed := check(), n.changed
		n.mu.Unlock()
		if err == nil {
			return nil
		}
		select {
		case <-changed:
		case <-n.ended:
			return fmt.Errorf("visitors.mjs has ended, and before: %w", err)
		case <-deadline.C:
			return err
		}
	}
}

// say pushes a text. What was not joined then is said later, as phoenix.js does.
func (v *visitor) say(event, text string) error {
	return v.node.order(map[string]any{"order": "say", "visitor": v.id, "event": event, "text": text})
}

func (v *visitor) leave(t *testing.T) {
	t.Helper()
	if err := v.node.order(map[string]any{"order": "leave", "visitor": v.id}); err != nil {
		t.Error(err)
	}
}
