package edge

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
)

// eventually waits for what other goroutines bring about.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	again := time.NewTicker(time.Millisecond)
	defer again.Stop()
	for end := time.Now().Add(30 * time.Second); !cond(); <-again.C {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

// closing reads the close frame of a WebSocket.
func closing(t *testing.T, from *bufio.Reader) (code uint16, reason string) {
	t.Helper()
	var head [2]byte
	if _, err := io.ReadFull(from, head[:]); err != nil || head[0] != 0x88 || head[1] < 2 {
		t.Fatalf("%x, %v", head, err)
	}
	payload := make([]byte, head[1])
	if _, err := io.ReadFull(from, payload); err != nil {
		t.Fatal(err)
	}
	return binary.BigEndian.Uint16(payload), string(payload[2:])
}

// knock asks e for something and returns the status and whether e closes the
// connection.
func knock(t *testing.T, method, url string) (status int, closes bool, body string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	resp, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Close, string(text)
}

// agentSays is the line that a balancer reads.
func agentSays(t *testing.T, e *Edge) string {
	t.Helper()
	conn, err := net.Dial("tcp", e.deps.Agent.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	line, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(string(line), "\n")
}

func TestHintsAreFollowed(t *testing.T) {
	e := serving(t)
	first := connect(t, e)
	connect(t, e)
	if s := e.sample(); s.GetWeight() != 100 || s.GetPlanner() != "" || s.GetPolled() || s.GetConnections() != 2 {
		t.Errorf("before: %v", s)
	}
	e.answered("p1", &presencev1.ReportResponse{
		LeaseMs: 30_000, Hint: &presencev1.Hint{Weight: 42, MovedUntil: 1, Rate: 100}, Orders: &presencev1.Orders{Seq: 3, Instance: "p2"},
	})
	if code, reason := closing(t, first); code != 1012 || reason != "rebalance" {
		t.Errorf("closed with %d %q", code, reason)
	}
	if line := agentSays(t, e); line != "up ready 42%" {
		t.Errorf("the agent says %q", line)
	}
	s := e.sample()
	want := &presencev1.Edge{
		Id: "e1", Incarnation: e.incarnation, Version: s.GetVersion(), State: presencev1.EdgeState_EDGE_STATE_STARTING,
		Address: e.deps.Clients.Addr().String(), Group: "blue", Capacity: 150, Connections: 1, Opened: 2, Moved: 1, View: s.GetView(),
		Weight: 42, Polled: true, Planner: "p1", Orders: &presencev1.Orders{Seq: 3, Instance: "p2"},
		UptimeMs: s.GetUptimeMs(), WeightAgeMs: s.GetWeightAgeMs(), PollAgeMs: s.GetPollAgeMs(),
	}
	if !proto.Equal(s, want) {
		t.Errorf("got %v, want %v", s, want)
	}
	if s.GetWeightAgeMs() > s.GetUptimeMs() {
		t.Errorf("the weight is %d ms old, the edge %d", s.GetWeightAgeMs(), s.GetUptimeMs())
	}
	e.answered("p1", &presencev1.ReportResponse{LeaseMs: 30_000}) // it plans no more
	if line := agentSays(t, e); line != "up ready 100%" {
		t.Errorf("the agent says %q", line)
	}
	if s := e.sample(); s.GetConnections() != 1 || s.GetMoved() != 1 || s.GetPlanner() != "" {
		t.Errorf("after: %v", s)
	}
}

func TestOrderDrainsUntilTakenBack(t *testing.T) {
	e := serving(t)
	socket := connect(t, e)
	orders := func(seq uint64, drains ...*presencev1.Drain) {
		e.answered("p1", &presencev1.ReportResponse{Orders: &presencev1.Orders{Seq: seq, Drains: drains}})
	}
	clients := "http://" + e.deps.Clients.Addr().String()
	admin := "http://" + e.deps.Admin.Addr().String()
	orders(1, &presencev1.Drain{Edge: "e1", Incarnation: e.incarnation})
	if !errors.Is(e.Ready(), errDraining) {
		t.Errorf("ready: %v", e.Ready())
	}
	if code, reason := closing(t, socket); code != 1012 || reason != "drain" {
		t.Errorf("closed with %d %q", code, reason)
	}
	for _, path := range []string{"/socket/websocket?vsn=2.0.0", "/socket/longpoll?vsn=2.0.0"} {
		if status, closes, _ := knock(t, http.MethodGet, clients+path); status != http.StatusServiceUnavailable || !closes {
			t.Errorf("%s: %d, closes: %t", path, status, closes)
		}
	}
	if status, _, body := knock(t, http.MethodGet, admin+"/readyz"); status != http.StatusServiceUnavailable || body != "draining\n" {
		t.Errorf("readyz: %d %q", status, body)
	}
	if line := agentSays(t, e); line != "up drain 1%" {
		t.Errorf("the agent says %q", line)
	}
	if s := e.sample(); s.GetState() != presencev1.EdgeState_EDGE_STATE_DRAINING || s.GetWeight() != 0 || s.GetMoved() != 0 || s.GetConnections() != 0 {
		t.Errorf("reports %v", s)
	}
	orders(2)
	if line := agentSays(t, e); line != "up ready 100%" || errors.Is(e.Ready(), errDraining) {
		t.Errorf("the agent says %q, ready: %v", line, e.Ready())
	}
	eventually(t, "it serves again", func() bool {
		status, _, _ := knock(t, http.MethodGet, clients+"/socket/longpoll?vsn=2.0.0")
		return status == http.StatusOK
	})
	connect(t, e)
}

func TestDrainOnTheAdminPort(t *testing.T) {
	e := serving(t)
	sockets := []*bufio.Reader{connect(t, e), connect(t, e)}
	url := "http://" + e.deps.Admin.Addr().String() + "/drain"
	status, _, body := knock(t, http.MethodGet, url)
	if status != http.StatusOK || body != `{"connections":0,"draining":true,"causes":["request"]}`+"\n" {
		t.Errorf("%d %s", status, body)
	}
	for _, s := range sockets {
		if code, _ := closing(t, s); code != 1012 {
			t.Errorf("closed with %d", code)
		}
	}
	if status, _, _ := knock(t, http.MethodDelete, url); status != http.StatusOK || errors.Is(e.Ready(), errDraining) {
		t.Errorf("%d, ready: %v", status, e.Ready())
	}
}

func TestDrainAnswersPolls(t *testing.T) {
	e := serving(t)
	url := "http://" + e.deps.Clients.Addr().String() + "/socket/longpoll?vsn=2.0.0"
	_, _, opened := knock(t, http.MethodGet, url)
	_, token, _ := strings.Cut(opened, `"token":"`)
	token, _, ok := strings.Cut(token, `"`)
	if !ok {
		t.Fatalf("opened with %s", opened)
	}
	answered := make(chan string, 1)
	go func() {
		_, _, body := knock(t, http.MethodGet, url+"&token="+token)
		answered <- body
	}()
	eventually(t, "the poll waits", func() bool {
		for c := range e.conns {
			return c.Look().Poll && c.Look().Silence == 0
		}
		return false
	})
	if status, _, body := knock(t, http.MethodPost, "http://"+e.deps.Admin.Addr().String()+"/drain"); status != http.StatusOK {
		t.Errorf("%d %s", status, body)
	}
	if body := <-answered; !strings.Contains(body, `"status":500`) {
		t.Errorf("the poll was answered %s", body)
	}
	if e.opened() != 1 || e.count() != 0 {
		t.Errorf("%d of %d are left", e.count(), e.opened())
	}
}
