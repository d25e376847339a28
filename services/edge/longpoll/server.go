package longpoll

import (
	"context"
	"iter"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	meshv1 "github.com/skein-mesh/skein/proto/gen/skein/mesh/v1"
)

// Server holds the long-poll sessions of an edge. Make one with [New], run it
// once, and serve its [Server.Handler].
type Server struct {
	// Static after construction.
	opts     Options
	ending   chan struct{} // capacity one: "look at ended"
	draining chan struct{} // closed when the drain begins

	count counters

	// mu guards the fields below.
	mu       sync.Mutex
	sessions map[secret]*Conn                 // also ended ones, until nobody asks for them
	ended    []*Conn                          // whose handler may have to be told
	open     int                              // sessions whose handler was not told
	refusing bool                             // no session may begin
	over     bool                             // nor ever will: Run ends
	forwards map[*context.CancelFunc]struct{} // of requests that another edge answers
}

// New returns a server that does nothing yet.
func New(opts Options) *Server {
	return &Server{
		opts:     opts.withDefaults(),
		ending:   make(chan struct{}, 1),
		draining: make(chan struct{}),
		sessions: map[secret]*Conn{},
		forwards: map[*context.CancelFunc]struct{}{},
	}
}

// Count is the number of sessions now, also those whose end is under way.
func (s *Server) Count() int { return int(s.count.open.Load()) }

// Open is the number of sessions now but for those that have ended.
func (s *Server) Open() int { return int(max(s.count.open.Load()-s.count.ended.Load(), 0)) }

// Opened is how many sessions have begun so far.
func (s *Server) Opened() uint64 { return s.count.opened.Load() }

// Refuse makes the server turn away who wants a session, with 503, until it is
// taken back. The sessions that there are go on, and every answer tells the client
// to come back on another HTTP connection.
func (s *Server) Refuse(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refusing = on
}

// All yields the sessions there are; ones that come or go meanwhile may be
// missed or have ended already.
func (s *Server) All() iter.Seq[*Conn] {
	return slices.Values(s.snapshot())
}

func (s *Server) snapshot() []*Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.sessions))
}

// Poll serves a request that another edge passed on. It may wait for the window
// and returns soon when ctx ends.
func (s *Server) Poll(ctx context.Context, req *meshv1.PollRequest) *meshv1.PollResponse {
	key, err := parseSecret(req.GetSession())
	if err != nil || req.GetEdge() != s.opts.Edge {
		return status(http.StatusGone)
	}
	return s.serve(ctx, key, req)
}

// serve serves a request of a session that is held here.
func (s *Server) serve(ctx context.Context, key secret, req *meshv1.PollRequest) *meshv1.PollResponse {
	s.mu.Lock()
	c := s.sessions[key]
	s.mu.Unlock()
	switch {
	case c == nil || c.mount != req.GetMount():
		return status(http.StatusGone)
	case req.GetPublish():
		return c.publish(ctx, req.GetMessages())
	}
	return c.poll(ctx)
}

// sweepInterval bounds how much later than 1.5 windows a session ends.
const sweepInterval = time.Second

// Run ends sessions that are not polled, until ctx ends. Then it takes no new
// ones, ends all that are left, cuts the requests that other edges do not answer
// in time, and returns when every handler was told.
func (s *Server) Run(ctx context.Context) error {
	if err := s.opts.validate(); err != nil {
		return err
	}
	registration, err := s.count.register(s.opts.Meter)
	if err != nil {
		return err
	}
	tick := time.NewTicker(min(sweepInterval, s.opts.Limits.Window/4))
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-s.ending:
			s.tell()
		case now := <-tick.C:
			s.sweep(now)
		}
	}
	s.drain()
	return registration.Unregister()
}

func (s *Server) sweep(now time.Time) {
	for _, c := range s.snapshot() {
		if c.stale(now) {
			s.mu.Lock()
			delete(s.sessions, c.secret)
			s.mu.Unlock()
		}
	}
}

// drain ends all sessions. Clients that wait in a GET hear of it at once, the
// others with their next.
func (s *Server) drain() {
	s.mu.Lock()
	s.over = true
	s.mu.Unlock()
	close(s.draining)
	for _, c := range s.snapshot() {
		c.close(causeRestart)
	}
	late := time.NewTimer(passTime)
	defer late.Stop()
	for s.tell(); !s.quiet(); s.tell() {
		select {
		case <-late.C:
			s.cut()
		case <-s.ending:
		}
	}
}

// quiet reports whether every handler was told and nothing is asked of another
// edge.
func (s *Server) quiet() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open == 0 && len(s.forwards) == 0
}

// add takes a session in; false means that none may begin any more.
func (s *Server) add(c *Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over || s.refusing {
		return false
	}
	s.sessions[c.secret] = c
	s.open++
	s.count.open.Add(1)
	s.count.opened.Add(1)
	return true
}

// end makes Run tell the handler of a session that ended: whoever ended it may
// hold locks that the handler takes.
func (s *Server) end(c *Conn) {
	s.count.ends[c.cause].Add(1)
	s.count.ended.Add(1)
	s.mu.Lock()
	s.ended = append(s.ended, c)
	s.mu.Unlock()
	signal(s.ending)
}

func (s *Server) tell() {
	s.mu.Lock()
	ended := s.ended
	s.ended = nil
	s.mu.Unlock()
	for _, c := range ended {
		c.tell()
	}
}

// told notes that a handler knows the end of its session.
func (s *Server) told(c *Conn) {
	s.opts.Addresses.Leave(c.addr)
	s.count.open.Add(-1)
	s.count.ended.Add(-1)
	s.mu.Lock()
	s.open--
	s.mu.Unlock()
	signal(s.ending)
}
