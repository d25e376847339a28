package socket

import (
	"fmt"
	"net"
	"net/http"
	"runtime/debug"
	"sync"
	"time"

	fws "github.com/fasthttp/websocket"
	"github.com/gofiber/contrib/websocket"
	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/adaptor"
	"github.com/valyala/fasthttp"
)

// Buffers of the package. Under the epoll engine only the handshake uses them.
const (
	epollReadBuffer    = 128
	portableReadBuffer = 4 << 10
	writeBuffer        = 4 << 10
)

// writeTimeout is for answers to plain HTTP requests.
const writeTimeout = 60 * time.Second

// keepAlive is how long an HTTP connection may be idle between two requests.
const keepAlive = 60 * time.Second

// routes builds the HTTP server: screening and upgrade at the mounts, the
// fallback everywhere else.
func (s *Server) routes() *fasthttp.Server {
	app := fiber.New(fiber.Config{
		DisableStartupMessage: true,
		ReduceMemoryUsage:     true,
		CaseSensitive:         true,
		ReadBufferSize:        s.opts.Limits.HeadBytes,
		ReadTimeout:           s.opts.Limits.Handshake,
		IdleTimeout:           keepAlive,
		WriteTimeout:          writeTimeout,
		BodyLimit:             s.opts.Limits.BodyBytes,
		DisableDefaultDate:    true, // its clock is a goroutine that never ends
		ErrorHandler:          answerError,
	})
	pool := &sync.Pool{}
	epoll, portable := s.upgrader(epollReadBuffer, pool), s.upgrader(portableReadBuffer, pool)
	app.Use(s.attend)
	for _, m := range s.mounts {
		app.All(m.Path+suffix, s.screen(m), func(c *fiber.Ctx) error {
			if s.nativeFor(guestOf(c)) != nil {
				return epoll(c)
			}
			return portable(c)
		})
	}
	app.Use(s.fallback())
	app.Handler() // builds the routes
	server := app.Server()
	// Without it Close of an upgraded connection does nothing. It needs fasthttp
	// 1.77: older ones reuse a buffer that the connection still reads from.
	server.KeepHijackedConns = true
	server.ConnState = s.idle
	return server
}

// attend answers one request, also if its handler panics.
func (s *Server) attend(c *fiber.Ctx) (err error) {
	g := guestOf(c)
	if g == nil {
		return fiber.ErrInternalServerError
	}
	g.busy.Store(true)
	defer func() {
		if p := recover(); p != nil {
			s.opts.Log.Error("request panicked", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			err = fiber.ErrInternalServerError
		}
		if s.leaving() {
			c.Context().SetConnectionClose()
		}
	}()
	return c.Next()
}

// idle lets go of a connection whose request is answered, if the server drains.
func (s *Server) idle(conn net.Conn, state fasthttp.ConnState) {
	g, ok := conn.(*guest)
	if !ok || state != fasthttp.StateIdle {
		return
	}
	g.busy.Store(false)
	if s.leaving() {
		_ = g.Close() // it may be closed already
	}
}

func (s *Server) upgrader(readBuffer int, pool fws.BufferPool) fiber.Handler {
	return websocket.New(s.adopt, websocket.Config{
		Origins:           []string{"*"}, // screened already
		EnableCompression: true,          // likewise
		ReadBufferSize:    readBuffer,
		WriteBufferSize:   writeBuffer,
		WriteBufferPool:   pool,
		RecoverHandler: func(*websocket.Conn) {
			if p := recover(); p != nil {
				s.opts.Log.Error("upgrade panicked", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			}
		},
	})
}

// adopt hands an upgraded connection to an engine. It runs after the response
// was sent, on a goroutine of the HTTP server, which it gives back at once.
func (s *Server) adopt(c *websocket.Conn) {
	inner, ok := c.NetConn().(interface{ UnsafeConn() net.Conn })
	if !ok {
		return
	}
	g, ok := inner.UnsafeConn().(*guest)
	if !ok {
		return
	}
	defer close(g.done)
	if n := s.nativeFor(g); n != nil {
		if err := n.adopt(g, c.Conn); err != nil {
			s.opts.Log.Warn("a socket was lost at its start", "error", err)
			_ = g.Conn.Close()
		}
		return
	}
	// c itself is reused when this returns, unlike c.Conn.
	s.portable.adopt(g, c.Conn)
}

// nativeFor is the epoll engine if it can hold the connection, else nil.
func (s *Server) nativeFor(g *guest) *native {
	if _, plain := g.Conn.(*net.TCPConn); !plain || s.opts.Engine != Auto {
		return nil
	}
	e, err := s.native()
	if err != nil {
		return nil
	}
	n, _ := e.(*native)
	return n
}

func (s *Server) fallback() fiber.Handler {
	if s.opts.Fallback == nil {
		return func(c *fiber.Ctx) error { return c.SendStatus(http.StatusNotFound) }
	}
	return adaptor.HTTPHandler(s.opts.Fallback)
}

// answerError answers with a status and nothing else: errors may quote what a
// client sent.
func answerError(c *fiber.Ctx, err error) error {
	status := http.StatusInternalServerError
	if e, ok := err.(*fiber.Error); ok { //nolint:errorlint // fiber returns it as it is
		status = e.Code
	}
	return c.SendStatus(status)
}
