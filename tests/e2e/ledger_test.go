//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"
)

// numbered is the payload of test traffic.
type numbered struct {
	Publisher string `json:"publisher"`
	N         int    `json:"n"`
}

// lane is what one publisher sends to one topic; its messages are numbered
// from 0.
type lane struct{ publisher, topic string }

// ledger compares what publishers sent with what subscribers saw: nothing
// lost, nothing twice, and each lane in order.
type ledger struct {
	mu       sync.Mutex
	sent     map[lane]int          // numbers handed out
	unsure   map[lane]map[int]bool // whose fate the publisher does not know
	received map[string]map[lane][]int
	problems []string
}

func newLedger() *ledger {
	return &ledger{sent: map[lane]int{}, unsure: map[lane]map[int]bool{}, received: map[string]map[lane][]int{}}
}

// next hands out the payload for the next message of a lane.
func (l *ledger) next(publisher, topic string) numbered {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := lane{publisher, topic}
	l.sent[key]++
	return numbered{publisher, l.sent[key] - 1}
}

// doubt notes that a message may or may not have been published.
func (l *ledger) doubt(publisher, topic string, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := lane{publisher, topic}
	if l.unsure[key] == nil {
		l.unsure[key] = map[int]bool{}
	}
	l.unsure[key][n] = true
}

// problemf notes what must not happen.
func (l *ledger) problemf(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.problems) < 20 {
		l.problems = append(l.problems, fmt.Sprintf(format, args...))
	}
}

// subscriber returns a receiver of broadcasts that writes them down.
func (l *ledger) subscriber(name string) func(message) {
	l.mu.Lock()
	defer l.mu.Unlock()
	lanes := map[lane][]int{}
	l.received[name] = lanes
	return func(m message) {
		var p numbered
		if err := json.Unmarshal(m.Payload, &p); err != nil || m.Event != "n" {
			l.problemf("%s got a %s it did not expect on %s: %.80s", name, m.Event, m.Topic, m.Payload)
			return
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		key := lane{p.Publisher, m.Topic}
		lanes[key] = append(lanes[key], p.N)
	}
}

// check waits until every subscriber of all topics has everything, and reports
// what is wrong.
func (l *ledger) check(t *testing.T) {
	t.Helper()
	total := 0
	settled := func() bool { // nothing is missing any more, or nothing more comes
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, lanes := range l.received {
			for key, sent := range l.sent {
				if len(lanes[key]) < sent-len(l.unsure[key]) {
					return false
				}
			}
		}
		return true
	}
	deadline := time.Now().Add(15 * time.Second)
	for tick := time.NewTicker(20 * time.Millisecond); !settled() && time.Now().Before(deadline); <-tick.C {
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, problem := range l.problems {
		t.Error(problem)
	}
	doubts, vanished := 0, 0
	for key, sent := range l.sent {
		total += sent
		doubts += len(l.unsure[key])
		vanished += l.vanished(key)
		for name, lanes := range l.received {
			l.compare(t, name, key, lanes[key])
		}
	}
	t.Logf("%d messages in %d lanes to %d subscribers; %d of them with unknown fate, of which %d reached nobody",
		total, len(l.sent), len(l.received), doubts, vanished)
}

// vanished counts the messages of unknown fate that no subscriber got. Called
// with mu held.
func (l *ledger) vanished(key lane) (count int) {
	for n := range l.unsure[key] {
		reached := false
		for _, lanes := range l.received {
			reached = reached || slices.Contains(lanes[key], n)
		}
		if !reached {
			count++
		}
	}
	return count
}

// compare checks one lane as one subscriber saw it. Called with mu held.
func (l *ledger) compare(t *testing.T, name string, key lane, got []int) {
	t.Helper()
	want := make([]int, 0, l.sent[key])
	for n := range l.sent[key] {
		if !l.unsure[key][n] || slices.Contains(got, n) {
			want = append(want, n)
		}
	}
	if slices.Equal(got, want) {
		return
	}
	seen := map[int]int{}
	disorder := 0
	for i, n := range got {
		seen[n]++
		if i > 0 && n < got[i-1] {
			disorder++
		}
	}
	var lost, twice []int
	for _, n := range want {
		switch {
		case seen[n] == 0:
			lost = append(lost, n)
		case seen[n] > 1:
			twice = append(twice, n)
		}
	}
	t.Errorf("%s, %s on %s: %d sent, %d got; lost %v, twice %v, %d out of order",
		name, key.publisher, key.topic, l.sent[key], len(got), head(lost), head(twice), disorder)
}

func head(list []int) string {
	if len(list) > 10 {
		return fmt.Sprintf("%v and %d more", list[:10], len(list)-10)
	}
	return fmt.Sprint(list)
}
