// Package httpapi serves skein.router.v1 as JSON over HTTP, for curl and for
// languages without gRPC. It decides nothing: each request becomes a call of a
// gRPC server of its own, in memory, with the interceptors of the public one, so
// that keys, limits, metrics and traces are the same on both ways.
//
// What the paths, bodies and answers are is generated from the protos; the
// document that says so, [OpenAPI], is served beside them.
package httpapi

import (
	"context"
	_ "embed" // for OpenAPI
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc"
	"google.golang.org/grpc/test/bufconn"

	"github.com/skein-mesh/skein/pkg/lifecycle"
	"github.com/skein-mesh/skein/pkg/rpc"
	"github.com/skein-mesh/skein/pkg/telemetry"
	gatewayv1 "github.com/skein-mesh/skein/proto/gen/gateway/skein/router/v1"
	routerv1 "github.com/skein-mesh/skein/proto/gen/skein/router/v1"
)

// OpenAPI describes the API, in JSON.
//
//go:embed openapi.json
var OpenAPI []byte

// MaxBody is the largest body of a request, in bytes.
const MaxBody = 8 << 20

// Bounds of a request's time. What a call may take is its caller's to say.
const (
	headerTime = 5 * time.Second  // for the header to arrive
	bodyTime   = 30 * time.Second // for the body to arrive
	idleTime   = 2 * time.Minute  // between two requests of a connection
	stopTime   = time.Second      // for requests under way when the server stops
)

// maxHeader bounds the header of a request, in bytes; the longest topic is a
// thousand, three times that in a URL.
const maxHeader = 32 << 10

// memorySize is the buffer of the in-memory connection, each way, in bytes.
const memorySize = 1 << 20

// Server serves the API over HTTP.
type Server struct {
	listener net.Listener
	http     *http.Server
	grpc     *grpc.Server
	memory   *bufconn.Listener
	conn     *grpc.ClientConn // to grpc
	log      *slog.Logger
}

// New returns a server of service on listener that does nothing until Run.
// options are those of the public gRPC server, without its credentials.
func New(listener net.Listener, service routerv1.RouterServiceServer, tel *telemetry.Telemetry, options ...grpc.ServerOption) (*Server, error) {
	s := &Server{listener: listener, memory: bufconn.Listen(memorySize), log: tel.Log}
	s.grpc = rpc.NewServer(tel, tel.Log, options...)
	routerv1.RegisterRouterServiceServer(s.grpc, service)
	var err error
	s.conn, err = rpc.Dial("passthrough:///router", grpc.WithContextDialer(
		func(ctx context.Context, _ string) (net.Conn, error) { return s.memory.DialContext(ctx) }))
	if err != nil {
		return nil, err
	}
	handler, err := newHandler(s.conn)
	if err != nil {
		return nil, err
	}
	s.http = &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: headerTime,
		IdleTimeout:       idleTime,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(tel.Log.Handler(), slog.LevelDebug), // what callers do wrong is not our trouble
	}
	return s, nil
}

// newHandler returns what answers requests by calls on conn.
func newHandler(conn grpc.ClientConnInterface) (http.Handler, error) {
	gateway := runtime.NewServeMux(
		runtime.WithMarshalerOption(runtime.MIMEWildcard, newCodec(lines())),
		runtime.WithMarshalerOption(eventStream, newCodec(events())),
		runtime.WithIncomingHeaderMatcher(passed),
		runtime.WithOutgoingHeaderMatcher(none),
		runtime.WithOutgoingTrailerMatcher(none),
		runtime.WithErrorHandler(func(_ context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, _ *http.Request, err error) {
			fail(w, err)
		}),
		runtime.WithRoutingErrorHandler(func(_ context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, r *http.Request, code int) {
			fail(w, misrouted(r, code))
		}),
		runtime.WithDisableChunkedEncoding(), // net/http does it
		runtime.WithDisableHTTPMethodOverride(),
		runtime.WithDisablePathLengthFallback(),
	)
	// The context is not used: a gateway over a client of its own starts nothing.
	if err := gatewayv1.RegisterRouterServiceHandlerClient(nil, gateway, routerv1.NewRouterServiceClient(conn)); err != nil { //nolint:staticcheck // see above
		return nil, fmt.Errorf("gateway: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("/", gateway)
	mux.HandleFunc("GET /openapi.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(OpenAPI) // whoever asked has gone
	})
	return screen(mux), nil
}

// passed says which headers of a request become metadata of its call, beside
// Authorization, which always does.
func passed(header string) (string, bool) {
	switch header {
	case "Traceparent":
		return "traceparent", true
	case "Tracestate":
		return "tracestate", true
	}
	return "", false
}

func none(string) (string, bool) { return "", false }

// Run serves until ctx ends. Requests under way then have a second to finish;
// whoever holds streams open should end them earlier.
func (s *Server) Run(ctx context.Context) error {
	defer s.conn.Close() //nolint:errcheck // done with it
	s.log.InfoContext(ctx, "HTTP API", "http", s.listener.Addr().String())
	return lifecycle.Run(ctx,
		lifecycle.Func(func(ctx context.Context) error { return rpc.Serve(ctx, s.grpc, s.memory) }),
		lifecycle.Func(s.serve))
}

func (s *Server) serve(ctx context.Context) error {
	served := make(chan error, 1)
	go func() { served <- s.http.Serve(s.listener) }()
	select {
	case err := <-served:
		return fmt.Errorf("HTTP API: %w", err)
	case <-ctx.Done():
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
	defer cancel()
	if s.http.Shutdown(ctx) != nil {
		_ = s.http.Close() // only says that it was late
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("HTTP API: %w", err)
	}
	return nil
}
