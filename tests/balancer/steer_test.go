//go:build e2e

package balancer

import (
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pires/go-proxyproto"

	"github.com/skein-mesh/skein/tests/process"
)

// stub is what HAProxy sees of an edge: pages, readiness and an agent that says
// what it is told.
type stub struct {
	host   string
	says   atomic.Pointer[string] // of the agent
	asked  atomic.Int64           // by how many agent-checks
	served atomic.Int64           // requests for a page
}

// newStub starts one that ends with the test.
func newStub(t *testing.T, says string) *stub {
	t.Helper()
	s := &stub{host: newHost()}
	s.says.Store(&says)
	s.serve(t, clientPort, func(http.ResponseWriter, *http.Request) { s.served.Add(1) })
	s.serve(t, adminPort, func(http.ResponseWriter, *http.Request) {})
	agent := s.listen(t, agentPort)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := agent.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, *s.says.Load()+"\n") // HAProxy asks again
			s.asked.Add(1)
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() {
		_ = agent.Close()
		<-done
	})
	return s
}

// say changes what the agent says, and returns by how many it was asked before.
func (s *stub) say(says string) int64 {
	s.says.Store(&says)
	return s.asked.Load()
}

func (s *stub) listen(t *testing.T, port string) net.Listener {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", s.host+":"+port)
	if err != nil {
		t.Fatal(err)
	}
	if port == clientPort {
		l = &proxyproto.Listener{ // in TCP mode HAProxy sends a header
			Listener:   l,
			ConnPolicy: func(proxyproto.ConnPolicyOptions) (proxyproto.Policy, error) { return proxyproto.USE, nil },
		}
	}
	return l
}

func (s *stub) serve(t *testing.T, port string, answer http.HandlerFunc) {
	t.Helper()
	server := &http.Server{Handler: answer, ReadHeaderTimeout: 10 * time.Second}
	l := s.listen(t, port)
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	t.Cleanup(func() {
		_ = server.Close()
		<-done
	})
}

// visit asks a balancer for n pages, each over a connection of its own, and
// returns how many failed.
func visit(t *testing.T, address string, n int) (failed int) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	for range n {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := client.Do(request)
		if err != nil {
			failed++
			continue
		}
		_ = response.Body.Close()
		if response.StatusCode != http.StatusOK {
			failed++
		}
	}
	return failed
}

// TestAgentsSteerHAProxy: what edges say decides where clients land, and nobody
// is refused while it changes.
func TestAgentsSteerHAProxy(t *testing.T) {
	for _, file := range []string{"http.cfg", "tcp.cfg"} {
		t.Run(file, func(t *testing.T) {
			stubs := []*stub{newStub(t, "up ready 1%"), newStub(t, "up ready 1%"), newStub(t, "up ready 256%")}
			lb := haproxy(t, file, []string{stubs[0].host, stubs[1].host, stubs[2].host})
			for _, c := range []struct {
				name    string
				says    [3]string
				weights []string
				visits  int
				ok      func(got [3]int64) bool
			}{
				{
					"a newcomer takes it all", [3]string{"up 1%", "up 1%", "up 256%"},
					[]string{"1", "1", "256"}, 258, func(got [3]int64) bool { return got[0] <= 3 && got[1] <= 3 && got[2] >= 252 },
				},
				{
					"all at the floor", [3]string{"up 1%", "up 1%", "up 1%"},
					[]string{"1", "1", "1"}, 30, func(got [3]int64) bool { return min(got[0], got[1], got[2]) >= 9 },
				},
				{
					"one gets half", [3]string{"up 100%", "up 50%", "up 100%"},
					[]string{"100", "50", "100"}, 50, func(got [3]int64) bool { return got[1] >= 9 && got[1] <= 11 },
				},
			} {
				for i, says := range c.says {
					stubs[i].says.Store(&says)
				}
				lb.awaitWeights(t, c.weights...)
				if got := spread(t, lb, stubs, c.visits); !c.ok(got) {
					t.Errorf("%s: visits are spread %v", c.name, got)
				}
			}
		})
	}
}

// TestDrainIsTakenBackInWords: HAProxy keeps a drain until an agent says ready,
// whoever said it and however long ago.
func TestDrainIsTakenBackInWords(t *testing.T) {
	stubs := []*stub{newStub(t, "up ready 100%"), newStub(t, "up ready 100%")}
	lb := haproxy(t, "http.cfg", []string{stubs[0].host, stubs[1].host})
	lb.awaitWeights(t, "100", "100")
	for _, c := range []struct{ says, status string }{
		{"up drain 1%", "DRAIN (agent)"}, {"up 100%", "DRAIN (agent)"}, {"up ready 100%", "UP"},
	} {
		asked := stubs[0].say(c.says)
		process.Eventually(t, patience, "HAProxy heard "+c.says, func() bool {
			return stubs[0].asked.Load() > asked+1 && lb.servers(t)["edge-1"].status == c.status
		})
		got := spread(t, lb, stubs, 20)
		if drained := c.status != "UP"; drained != (got[0] == 0) {
			t.Errorf("%s: visits are spread %v", c.says, got)
		}
	}
}

// spread makes visits, of which none may fail, and counts where they landed.
func spread(t *testing.T, lb *balancer, stubs []*stub, visits int) (got [3]int64) {
	t.Helper()
	for i, s := range stubs {
		got[i] = -s.served.Load()
	}
	if failed := visit(t, lb.listen, visits); failed > 0 {
		t.Errorf("%d of %d visits failed", failed, visits)
	}
	for i, s := range stubs {
		got[i] += s.served.Load()
	}
	return got
}
