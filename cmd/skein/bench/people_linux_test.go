package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// meeting is a server that lists the people of its topics.
type meeting struct {
	mu         sync.Mutex // guards the fields below
	topics     map[string]map[string]net.Conn
	mischief   string // a difference that never happened, about the latest USER; or none
	mischiefAt int    // people of a topic when it is told
	silent     bool   // it never says who left
}

// meet serves on addresses of its own until the test ends.
func meet(t *testing.T, m *meeting, addresses int) []string {
	t.Helper()
	m.topics = map[string]map[string]net.Conn{}
	var list []string
	for range addresses {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		var serving sync.WaitGroup
		t.Cleanup(func() { listener.Close(); serving.Wait() })
		list = append(list, listener.Addr().String())
		serving.Go(func() {
			for {
				c, err := listener.Accept()
				if err != nil {
					return
				}
				serving.Go(func() { m.serve(c) })
			}
		})
	}
	return list
}

func (m *meeting) serve(c net.Conn) {
	defer c.Close()
	r := bufio.NewReader(c)
	for {
		line, err := r.ReadString('\n')
		if err != nil || line == "\r\n" {
			break
		}
		if key, ok := strings.CutPrefix(line, "Sec-WebSocket-Key: "); ok {
			fmt.Fprintf(c, "HTTP/1.1 101 Yes\r\nSec-WebSocket-Accept: %s\r\n\r\n", acceptance(strings.TrimSpace(key)))
		}
	}
	var b []byte
	for part := make([]byte, 4096); ; {
		n, err := r.Read(part)
		if err != nil {
			return
		}
		b = append(b, part[:n]...)
		for {
			f, size, err := next(b)
			if err != nil {
				return
			}
			if size == 0 {
				break
			}
			m.take(c, f.payload)
			b = b[size:]
		}
	}
}

func say(c net.Conn, format string, args ...any) {
	c.Write(appendServerFrame(nil, opText, fmt.Appendf(nil, format, args...)))
}

func (m *meeting) take(c net.Conn, text []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	got, err := decode(text)
	if err != nil {
		return
	}
	people := m.topics[got.topic]
	switch got.event {
	case "phx_join":
		var params struct {
			User string `json:"user_id"`
		}
		if json.Unmarshal(got.payload, &params) != nil || params.User == "" {
			return
		}
		c.Write(reply("1", got.ref, got.topic))
		if people == nil {
			people = map[string]net.Conn{}
			m.topics[got.topic] = people
		}
		people[params.User] = c
		m.joined(got.topic, params.User)
	case "phx_leave":
		c.Write(reply("1", got.ref, got.topic))
		say(c, `["1","1",%q,"phx_close",{}]`, got.topic)
		for user, other := range people {
			if other == c {
				delete(people, user)
				m.tell(got.topic, fmt.Sprintf(`{"joins":{},"leaves":{%q:{"metas":[{"phx_ref":"r%s"},{"phx_ref":"new"}]}}}`, user, user))
			}
		}
	}
}

// joined sends a difference before the state, which must wait, and one after it,
// which repeats it.
func (m *meeting) joined(topic, user string) {
	people := m.topics[topic]
	entry := fmt.Sprintf(`{"joins":{%q:{"metas":[{"phx_ref":"r%s"}]}},"leaves":{}}`, user, user)
	m.tell(topic, entry)
	var state []string
	for other := range people {
		state = append(state, fmt.Sprintf(`%q:{"metas":[{"phx_ref":"r%s"}]}`, other, other))
	}
	say(people[user], `["1",null,%q,"presence_state",{%s}]`, topic, strings.Join(state, ","))
	m.tell(topic, entry)
	if len(people) != m.mischiefAt || m.mischief == "" {
		return
	}
	m.tell(topic, strings.ReplaceAll(m.mischief, "USER", user))
}

func (m *meeting) tell(topic, diff string) {
	if m.silent && strings.HasPrefix(diff, `{"joins":{},`) {
		return
	}
	for _, c := range m.topics[topic] {
		say(c, `[null,null,%q,"presence_diff",%s]`, topic, diff)
	}
}

func crowdOf(t *testing.T, m *meeting) PeopleOptions {
	t.Helper()
	o := DefaultPeople()
	o.Edge, o.People, o.Topics, o.Settle, o.Hold = meet(t, m, 2), 23, 3, 0, 0
	if err := o.Validate(); err != nil {
		t.Fatal(err)
	}
	return o
}

// nobody waits for the hold.
func nobody() {}

func TestPeople(t *testing.T) {
	report, err := People(t.Context(), crowdOf(t, &meeting{}), nobody)
	if err != nil {
		t.Fatal(err)
	}
	r, p := report.Target, report.Target.People
	if report.Failed() != "" || r.Join.Count != 23 || r.Sockets != 23 || r.Closed != 0 {
		t.Errorf("%q: %+v, join %+v", report.Failed(), r, r.Join)
	}
	if p.Lists != 6 || p.Incomplete+p.Ghosts+p.SpuriousJoins+p.SpuriousLeaves != 0 || p.CompleteSeconds <= 0 {
		t.Errorf("%+v", p)
	}
	if p.Frames < 3*23 || p.BytesPerClient != float64(p.Bytes)/23 || p.Bytes < 50*p.Frames {
		t.Errorf("%+v", p)
	}
	var out strings.Builder
	report.Print(&out)
	for _, want := range []string{"people       23 in 3 topics; 6 lists followed, 0 incomplete\n", "in all 0 spurious joins, 0 spurious leaves\n", " KB per client, "} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}

func TestPeopleFindsMischief(t *testing.T) {
	const briefly = 300 * time.Millisecond // for what never comes
	for what, c := range map[string]struct {
		mischief string
		silent   bool
		patience time.Duration
		wrong    func(*Crowd) bool
	}{
		"a leave": {
			`{"joins":{},"leaves":{"USER":{"metas":[{"phx_ref":"rUSER"}]}}}`, false, briefly,
			func(p *Crowd) bool { return p.SpuriousLeaves == 2 && p.Incomplete == 2 },
		},
		"another meta": {
			`{"joins":{"USER":{"metas":[{"phx_ref":"new"}]}},"leaves":{"USER":{"metas":[{"phx_ref":"rUSER"}]}}}`, false, time.Minute,
			func(p *Crowd) bool { return p.SpuriousJoins == 2 && p.SpuriousLeaves == 2 && p.Incomplete == 0 },
		},
		"strangers": {
			`{"joins":{"USER1":{"metas":[{"phx_ref":"f"}]},"USER2":{"metas":[{"phx_ref":"g"}]}},"leaves":{}}`, false, briefly,
			func(p *Crowd) bool { return p.Incomplete == 2 },
		},
		"ghosts": {"", true, briefly, func(p *Crowd) bool { return p.Ghosts == 2 }},
	} {
		o := crowdOf(t, &meeting{mischiefAt: 4, mischief: c.mischief, silent: c.silent})
		o.People, o.Topics, o.Patience = 5, 1, c.patience
		o.Concurrency = 1 // they enter in order
		report, err := People(t.Context(), o, nobody)
		if err != nil {
			t.Fatal(err)
		}
		if p := report.Target.People; report.Failed() == "" || !c.wrong(p) {
			t.Errorf("%s: %q: %+v", what, report.Failed(), p)
		}
	}
}

// TestPeopleAreReleasedEarly ends a hold of an hour.
func TestPeopleAreReleasedEarly(t *testing.T) {
	o := crowdOf(t, &meeting{})
	o.Hold = time.Hour
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	report, err := People(ctx, o, cancel)
	if err != nil || report.Failed() != "" || report.Target.People.Ghosts > 0 {
		t.Errorf("%+v, %v", report, err)
	}
}

func TestPeopleWithoutAServer(t *testing.T) {
	o := DefaultPeople()
	o.Edge = []string{"127.0.0.1:1"}
	if _, err := People(t.Context(), o, nobody); err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("got %v", err)
	}
}

func TestRosterKeepsToItsRun(t *testing.T) {
	r := newRoster("run-", 2)
	for i, step := range []string{
		`presence_diff {"joins":{"run-1":{"metas":[{"phx_ref":"a"}]}},"leaves":{}}`,
		`presence_state {"run-0":{"metas":[{"phx_ref":"b"}]},"guest":{"metas":[{"phx_ref":"g"}]}}`,
		`presence_diff {"joins":{},"leaves":{"guest":{"metas":[{"phx_ref":"g"}]}}}`,
		`presence_state {"run-0":{"metas":[{"phx_ref":"b"}]},"run-1":{"metas":[{"phx_ref":"a"}]}}`,
	} {
		event, payload, _ := strings.Cut(step, " ")
		if err := r.take(event, []byte(payload)); err != nil {
			t.Errorf("step %s: %v", strconv.Itoa(i), err)
		}
	}
	if len(r.refs) != 2 || r.spuriousJoins+r.spuriousLeaves != 0 || r.calls != 2 {
		t.Errorf("%+v", r)
	}
	// A state without somebody is a leave; one with another meta is both.
	if err := r.take("presence_state", []byte(`{"run-0":{"metas":[{"phx_ref":"c"}]}}`)); err != nil {
		t.Error(err)
	}
	if r.spuriousJoins != 1 || r.spuriousLeaves != 2 || len(r.refs) != 1 {
		t.Errorf("%+v", r)
	}
	for _, event := range []string{"presence_state", "presence_diff"} {
		if r.take(event, []byte("[]")) == nil {
			t.Errorf("%s: took a list", event)
		}
	}
}
