package longpoll

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/skein-mesh/skein/pkg/bubble"
	"github.com/skein-mesh/skein/pkg/wsframe"
	"github.com/skein-mesh/skein/services/edge/handshake"
	"github.com/skein-mesh/skein/services/edge/session"
)

const mount = "/socket"

// edge is a server in a bubble of virtual time, with handlers that do what the
// test says.
type edge struct {
	t *testing.T
	*Server

	stop context.CancelFunc
	done chan error

	mu        sync.Mutex // guards the fields below
	ids       uint64
	refusal   handshake.Refusal
	requests  []*handshake.Request
	clients   []*client
	addresses map[netip.Addr]int
}

// client is the handler of one session.
type client struct {
	conn session.Conn

	mu      sync.Mutex // guards the fields below
	message script
	got     []string
	ends    int
}

// script is what a handler does with a message; nil for nothing.
type script func(c *client, op wsframe.Opcode, data []byte)

func (c *client) Message(op wsframe.Opcode, data []byte) {
	c.mu.Lock()
	c.got = append(c.got, string(data))
	do := c.message
	c.mu.Unlock()
	if do != nil {
		do(c, op, data)
	}
}

func (c *client) Closed() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ends++
}

// does makes c do something else from now on.
func (c *client) does(s script) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.message = s
}

// closed is how often c was told that it is closed.
func (c *client) closed() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ends
}

func (c *client) received() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string{}, c.got...)
}

func (c *client) send(text string) { c.conn.Send(wsframe.New(wsframe.Text, []byte(text))) }

// maxSessions of one address.
const maxSessions = 1000

// Enter implements [Addresses].
func (e *edge) Enter(a netip.Addr) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.addresses[a]++
	return e.addresses[a] <= maxSessions
}

// Leave implements [Addresses].
func (e *edge) Leave(a netip.Addr) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.addresses[a]--
}

func (e *edge) admit(_ context.Context, r *handshake.Request) (func(session.Conn) Handler, handshake.Refusal) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.requests = append(e.requests, r)
	if e.refusal.Status != 0 {
		return nil, e.refusal
	}
	return func(conn session.Conn) Handler {
		e.mu.Lock()
		defer e.mu.Unlock()
		c := &client{conn: conn, message: echo}
		e.clients = append(e.clients, c)
		return c
	}, handshake.Refusal{}
}

// echo answers each message with itself, and what is not a message of the
// protocol like a session does.
func echo(c *client, op wsframe.Opcode, data []byte) {
	if op == wsframe.Text && (len(data) == 0 || data[0] != '[' && data[0] != '{') {
		c.conn.Close(wsframe.CodeInternal, "")
		return
	}
	c.conn.Send(wsframe.New(op, data))
}

func (e *edge) nextID() uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ids++
	return e.ids
}

func noRouter() (grpc.ClientConnInterface, bool) { return nil, false }

// start runs an edge until the test ends.
func start(t *testing.T, name string, change func(*Options)) *edge {
	t.Helper()
	e := &edge{t: t, done: make(chan error, 1), addresses: map[netip.Addr]int{}}
	opts := Options{Edge: name, Admit: e.admit, NextID: e.nextID, Addresses: e, Router: noRouter}
	if change != nil {
		change(&opts)
	}
	e.Server = New(opts)
	ctx, stop := context.WithCancel(t.Context())
	e.stop = stop
	go func() { e.done <- e.Run(ctx) }()
	return e
}

// end stops the edge as SIGTERM does, and checks that nothing is left.
func (e *edge) end() {
	e.t.Helper()
	e.stop()
	if err := <-e.done; err != nil {
		e.t.Error(err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for i, c := range e.clients {
		if n := c.closed(); n != 1 {
			e.t.Errorf("client %d was closed %d times", i, n)
		}
	}
	for a, n := range e.addresses {
		if n != 0 {
			e.t.Errorf("%d sessions of %s are left", n, a)
		}
	}
	if e.Count() != 0 {
		e.t.Errorf("%d sessions are left", e.Count())
	}
}

// inBubble runs a test with one edge.
func inBubble(t *testing.T, change func(*Options), test func(t *testing.T, e *edge)) {
	t.Helper()
	bubble.Test(t, func(t *testing.T) {
		e := start(t, "e1", change)
		test(t, e)
		e.end()
	})
}

// answer of one request.
type answer struct {
	*httptest.ResponseRecorder

	after    time.Duration
	Messages []string
	Status   int
	Token    string
}

// do sends a request; a header is "Name: value".
func (e *edge) do(ctx context.Context, method, query, body string, headers ...string) answer {
	r := httptest.NewRequestWithContext(ctx, method, "http://app.test/socket/longpoll?"+query, strings.NewReader(body))
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Add(name, value)
	}
	a := answer{ResponseRecorder: httptest.NewRecorder()}
	began := time.Now()
	e.Handler(mount).ServeHTTP(a.ResponseRecorder, r)
	a.after = time.Since(began)
	if a.Body.Len() > 0 {
		if err := json.Unmarshal(a.Body.Bytes(), &a); err != nil {
			e.t.Errorf("%s ?%s: body %q: %v", method, query, a.Body, err)
		}
	}
	return a
}

// open begins a session.
func (e *edge) open() (token string, c *client) {
	e.t.Helper()
	a := e.do(e.t.Context(), http.MethodGet, "vsn=2.0.0", "")
	if a.Code != http.StatusOK || a.Status != http.StatusGone || a.Token == "" {
		e.t.Fatalf("open: HTTP %d %s", a.Code, a.Body)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return a.Token, e.clients[len(e.clients)-1]
}

func (e *edge) get(token string) answer {
	return e.do(e.t.Context(), http.MethodGet, "vsn=2.0.0&token="+token, "")
}

func (e *edge) post(token string, lines ...string) answer {
	return e.do(e.t.Context(), http.MethodPost, "vsn=2.0.0&token="+token, strings.Join(lines, "\n"), "Content-Type: "+ndjson)
}

// want checks the whole body of an answer and how long it took.
func (a answer) want(t *testing.T, after time.Duration, body string) {
	t.Helper()
	if a.Code != http.StatusOK || a.Body.String() != body || a.after != after {
		t.Errorf("HTTP %d %s after %s, want %s after %s", a.Code, a.Body, a.after, body, after)
	}
}
