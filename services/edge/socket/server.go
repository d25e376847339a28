package socket

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/skein-mesh/skein/pkg/wsframe"
)

// Server accepts connections and holds their sockets. Make one with [New] and
// run it once.
type Server struct {
	// Static after construction.
	opts   Options
	mounts []*mount
	start  time.Time

	// Static once Run began.
	http *fasthttp.Server
	life context.Context // ends when the drain begins

	count    counters
	refusing atomic.Bool
	shut     atomic.Bool  // nobody is accepted any more
	draining atomic.Bool  // for good: Run ends
	delayed  atomic.Int64 // refusals whose answer waits

	unlisten func() error           // closes the listener, once
	native   func() (engine, error) // starts the epoll engine on first use
	portable *portable
	sockets  sync.WaitGroup // counts connections that engines hold

	// mu guards the fields below.
	mu      sync.Mutex
	guests  map[*guest]struct{}
	serving sync.WaitGroup // counts guests
	engines []engine
}

// engine holds upgraded connections.
type engine interface {
	each(yield func(*Conn) bool) // all connections, also closing ones
	abort()                      // tears every connection down at once
	stop()                       // ends the goroutines; no connection is left
}

// New returns a server that does nothing yet.
func New(opts Options) *Server {
	opts = opts.withDefaults()
	s := &Server{
		opts:   opts,
		start:  time.Now(),
		guests: map[*guest]struct{}{},
	}
	for _, m := range opts.Mounts {
		s.mounts = append(s.mounts, &mount{Mount: m.withDefaults(), server: s})
	}
	s.unlisten = sync.OnceValue(func() error { return s.opts.Listener.Close() })
	s.portable = newPortable(s)
	s.engines = []engine{s.portable}
	s.native = sync.OnceValues(s.startNative)
	return s
}

// Count is the number of sockets now, also those that are closing.
func (s *Server) Count() int { return int(s.count.open.Load()) }

// Open is the number of sockets now but for those that are closing.
func (s *Server) Open() int { return int(max(s.count.open.Load()-s.count.closing.Load(), 0)) }

// Refuse makes the server turn away who comes, with 503, and tell HTTP clients to
// come back on another connection, until it is taken back. Sockets that are open
// stay so.
func (s *Server) Refuse(on bool) { s.refusing.Store(on) }

// Shut makes the server accept nobody any more, for good: who connects is refused
// by the kernel, which every balancer takes for a reason to try another server.
// What is connected stays so. Run goes on until its context ends.
func (s *Server) Shut() {
	s.shut.Store(true)
	_ = s.unlisten() // Run reports it
}

// leaving reports whether nobody may come.
func (s *Server) leaving() bool { return s.refusing.Load() || s.draining.Load() }

// Stats are the server's counters.
func (s *Server) Stats() Stats { return s.count.stats() }

// All yields the sockets there are; ones that come or go meanwhile may be
// missed or already closed.
func (s *Server) All() iter.Seq[*Conn] {
	return func(yield func(*Conn) bool) {
		s.mu.Lock()
		engines := s.engines
		s.mu.Unlock()
		for _, e := range engines {
			more := true
			e.each(func(c *Conn) bool {
				more = yield(c)
				return more
			})
			if !more {
				return
			}
		}
	}
}

// queued is how many bytes wait for all sockets. It looks at each, so it is for
// whoever collects metrics only.
func (s *Server) queued() (bytes int64) {
	for c := range s.All() {
		bytes += int64(c.Look().Queued)
	}
	return bytes
}

// Run serves until ctx ends or the listener fails. Then it refuses new
// connections, closes every socket that is left with [wsframe.CodeRestart], all at
// once, answers the requests under way, waits for the ends of all and returns with
// nothing left running. It does not end a fallback handler that does not return.
func (s *Server) Run(ctx context.Context) error {
	if err := s.opts.validate(); err != nil {
		return err
	}
	registration, err := s.count.register(s.opts.Meter, s.queued)
	if err != nil {
		return fmt.Errorf("register metrics: %w", err)
	}
	life, end := context.WithCancel(ctx)
	defer end()
	s.life, s.http = life, s.routes()
	accepting := make(chan error, 1)
	go func() { accepting <- s.accept(ctx) }()
	select {
	case <-ctx.Done():
		s.draining.Store(true)
		err = s.unlisten()
		err = errors.Join(err, <-accepting)
	case err = <-accepting:
		if s.shut.Load() {
			<-ctx.Done()
		}
		s.draining.Store(true)
		err = errors.Join(err, s.unlisten())
	}
	end()
	s.drain()
	return errors.Join(err, registration.Unregister())
}

// accept hands every connection to a goroutine of its own, not to the HTTP
// server's pool, whose idle goroutines outlive a stop by ten seconds.
func (s *Server) accept(ctx context.Context) error {
	pause := time.Duration(0)
	for {
		conn, err := s.opts.Listener.Accept()
		switch {
		case err == nil:
			pause = 0
			s.receive(conn)
		case s.draining.Load() || s.shut.Load():
			return nil
		case temporary(err):
			if pause == 0 {
				s.opts.Log.Warn("cannot accept connections for now", "error", err)
			}
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			select {
			case <-time.After(pause):
			case <-ctx.Done():
			}
		default:
			return fmt.Errorf("accept: %w", err)
		}
	}
}

// temporary reports an error of Accept that may pass: out of descriptors or
// memory, or a client that left already.
func temporary(err error) bool {
	for _, e := range []error{
		syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED, syscall.EINTR,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

func (s *Server) receive(conn net.Conn) {
	if len(s.opts.Balancers) > 0 && !s.opts.trusted(conn.RemoteAddr()) {
		s.turnAway(conn, refusedPeer, errNotTrusted)
		return
	}
	g := &guest{Conn: conn, done: make(chan struct{})}
	s.mu.Lock()
	s.guests[g] = struct{}{}
	s.mu.Unlock()
	s.serving.Go(func() {
		if s.introduce(g) {
			_ = s.http.ServeConn(g) // the client's problem: it is gone, or got an answer
		}
		if !g.closed.Load() {
			<-g.done
		}
		s.mu.Lock()
		delete(s.guests, g)
		s.mu.Unlock()
	})
}

// drain ends everything; [Server.draining] is set.
func (s *Server) drain() {
	s.closeAll()
	s.eachGuest(func(g *guest) {
		if !g.busy.Load() {
			_ = g.Conn.Close() // an idle HTTP client, or one that is late
		}
	})
	s.await(&s.serving, func() {
		s.eachGuest(func(g *guest) { _ = g.Conn.Close() }) // it had its time
	})
	s.closeAll() // also those that opened meanwhile
	s.await(&s.sockets, func() {
		for _, e := range s.engines {
			e.abort()
		}
	})
	for _, e := range s.engines {
		e.stop()
	}
}

func (s *Server) closeAll() {
	for c := range s.All() {
		c.Close(wsframe.CodeRestart, "")
	}
}

// await waits for a group. After [Limits.CloseWait] or at [Options.Abort] it
// cuts what is left short.
func (s *Server) await(group *sync.WaitGroup, cut func()) {
	gone := make(chan struct{})
	go func() {
		group.Wait()
		close(gone)
	}()
	patience := time.NewTimer(s.opts.Limits.CloseWait)
	defer patience.Stop()
	select {
	case <-gone:
	case <-patience.C:
	case <-s.opts.Abort:
	}
	cut()
	<-gone
}

func (s *Server) eachGuest(do func(*guest)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for g := range s.guests {
		do(g)
	}
}

// startNative starts the epoll engine, which a server without a plain TCP
// connection never needs.
func (s *Server) startNative() (engine, error) {
	e, err := newNative(s)
	if err != nil {
		s.opts.Log.Warn("sockets fall back to the portable engine", "error", err)
		return nil, err
	}
	s.mu.Lock()
	s.engines = append(slices.Clip(s.engines), e)
	s.mu.Unlock()
	return e, nil
}

// now is the time since the server was made, in nanoseconds.
func (s *Server) now() int64 { return int64(time.Since(s.start)) }

// begin counts a connection, whose engine has set it up but for its handler,
// and reports whether its address may have one more.
func (s *Server) begin(c *Conn) (within bool) {
	now := s.now()
	c.opened = uint32(time.Duration(now) / time.Second) //nolint:gosec // more than a century
	c.lastFrame.Store(now)
	s.sockets.Add(1)
	s.count.open.Add(1)
	s.count.opened.Add(1)
	return s.opts.Addresses.Enter(c.addr)
}

// handlerFor makes the handler of a connection that the engine already knows,
// so that either this or [Server.drain] sees that it must close.
func (s *Server) handlerFor(c *Conn, open func(*Conn) Handler, within bool) Handler {
	switch {
	case s.leaving():
		c.Close(wsframe.CodeRestart, "")
	case !within:
		c.Close(wsframe.CodePolicy, "too many sockets of this address")
	default:
		var h Handler
		c.guard(func() { h = open(c) })
		if h != nil {
			return h
		}
		c.Close(wsframe.CodeInternal, "")
	}
	return nobody{}
}

// end undoes begin, when nothing of the connection is left.
func (s *Server) end(c *Conn) {
	s.opts.Addresses.Leave(c.addr)
	s.count.closed[c.cause].Add(1)
	s.count.open.Add(-1)
	s.count.closing.Add(-1)
	s.sockets.Done()
}

// nobody handles connections that are closed before they open.
type nobody struct{}

// Message implements [Handler].
func (nobody) Message(wsframe.Opcode, []byte) {}

// Closed implements [Handler].
func (nobody) Closed() {}
