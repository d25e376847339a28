// Package rpc holds what every gRPC server and client of the mesh has in
// common: limits, keepalive, health, reflection and instrumentation of unary
// calls. The streams of the mesh are not instrumented: one span for the life of
// a stream says nothing, so they carry trace context in each message instead.
package rpc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"go.opentelemetry.io/otel/propagation"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/skein-mesh/skein/pkg/telemetry"
)

// MaxMessageSize is the largest message either side takes, in bytes. It must
// exceed the largest batch of package pump.
const MaxMessageSize = 16 << 20

// Flow control windows. Fixed windows switch off gRPC's own estimation, which
// costs pings; these hold many batches of package pump.
const (
	streamWindow = 1 << 20
	connWindow   = 4 << 20
)

// stopTime is what calls under way have to finish when a server stops.
const stopTime = 2 * time.Second

// NewServer returns a server with health and reflection registered. Services
// are added by the caller before it serves.
func NewServer(tel *telemetry.Telemetry, log *slog.Logger, extra ...grpc.ServerOption) *grpc.Server {
	server, _ := NewServerWithHealth(tel, log, extra...)
	return server
}

// NewServerWithHealth is [NewServer] for a service that is not always healthy:
// it also returns what answers health checks, which says that the service serves
// until it is told otherwise.
func NewServerWithHealth(tel *telemetry.Telemetry, log *slog.Logger, extra ...grpc.ServerOption) (*grpc.Server, *health.Server) {
	server := grpc.NewServer(append([]grpc.ServerOption{
		grpc.MaxRecvMsgSize(MaxMessageSize),
		grpc.MaxSendMsgSize(MaxMessageSize),
		grpc.InitialWindowSize(streamWindow),
		grpc.InitialConnWindowSize(connWindow),
		// A peer that vanished without a word, and with it a sender blocked by
		// flow control, is gone after three seconds.
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: time.Second, Timeout: 2 * time.Second}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 500 * time.Millisecond, PermitWithoutStream: true}),
		grpc.StatsHandler(otelgrpc.NewServerHandler(instrumentation(tel)...)),
		grpc.ChainUnaryInterceptor(logUnary(log)),
	}, extra...)...)
	checks := health.NewServer()
	healthv1.RegisterHealthServer(server, checks)
	reflection.Register(server)
	return server, checks
}

// Serve runs server on listener until ctx ends. Calls under way then have two
// seconds; whoever holds streams open should end them earlier.
func Serve(ctx context.Context, server *grpc.Server, listener net.Listener) error {
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	select {
	case err := <-served:
		return fmt.Errorf("gRPC on %s: %w", listener.Addr(), err)
	case <-ctx.Done():
	}
	late := time.AfterFunc(stopTime, server.Stop)
	server.GracefulStop()
	late.Stop()
	// A server that was stopped before it began says so.
	if err := <-served; err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return fmt.Errorf("gRPC on %s: %w", listener.Addr(), err)
	}
	return nil
}

// Dial returns a client of the server at address, "host:port" or any gRPC
// target. It does not connect yet, and reconnects by itself at most a second
// apart. Tests add a dialer with [grpc.WithContextDialer].
func Dial(address string, extra ...grpc.DialOption) (*grpc.ClientConn, error) {
	conn, err := grpc.NewClient(address, append([]grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		// The fleet talks to itself: an HTTP proxy in the environment is not meant for it.
		grpc.WithNoProxy(),
		// Nor is it configured by TXT records, for which a network without a way out would have it wait.
		grpc.WithDisableServiceConfig(),
		grpc.WithInitialWindowSize(streamWindow),
		grpc.WithInitialConnWindowSize(connWindow),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 2 * time.Second, PermitWithoutStream: true}),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
			MinConnectTimeout: 2 * time.Second,
		}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(MaxMessageSize), grpc.MaxCallSendMsgSize(MaxMessageSize)),
	}, extra...)...)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", address, err)
	}
	return conn, nil
}

// DialBackend is [Dial] for servers that are not Skein's own. Those may take
// pings for abuse and close the connection, so it sends one only after ten
// minutes of silence; a server that is gone is noticed all the same, since what
// is sent to it must be acknowledged in five seconds. serviceConfig is gRPC's
// JSON; it must be valid.
func DialBackend(target, serviceConfig string, extra ...grpc.DialOption) (*grpc.ClientConn, error) {
	return Dial(target, append([]grpc.DialOption{
		grpc.WithDefaultServiceConfig(serviceConfig),
		// On Linux the timeout is TCP's too.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Minute, Timeout: 5 * time.Second}),
	}, extra...)...)
}

// Traced makes a client take part in traces; for [Dial].
func Traced(tel *telemetry.Telemetry) grpc.DialOption {
	return grpc.WithStatsHandler(otelgrpc.NewClientHandler(instrumentation(tel)...))
}

func instrumentation(tel *telemetry.Telemetry) []otelgrpc.Option {
	return []otelgrpc.Option{
		otelgrpc.WithTracerProvider(tel.TracerProvider()),
		otelgrpc.WithMeterProvider(tel.MeterProvider()),
		otelgrpc.WithPropagators(propagation.TraceContext{}),
		otelgrpc.WithFilter(func(info *stats.RPCTagInfo) bool { return unary(info.FullMethodName) }),
	}
}

// unary says whether a method, as "/package.Service/Method", is known and takes
// and returns one message. Health checks are left out: they are only noise.
func unary(method string) bool {
	name, ok := methodName(method)
	if !ok || string(name.Parent()) == healthv1.Health_ServiceDesc.ServiceName {
		return false
	}
	descriptor, err := protoregistry.GlobalFiles.FindDescriptorByName(name)
	if err != nil {
		return false
	}
	m, ok := descriptor.(protoreflect.MethodDescriptor)
	return ok && !m.IsStreamingClient() && !m.IsStreamingServer()
}

// methodName turns "/package.Service/Method" into "package.Service.Method".
func methodName(method string) (protoreflect.FullName, bool) {
	if len(method) == 0 || method[0] != '/' {
		return "", false
	}
	name := []byte(method[1:])
	for i, c := range name {
		if c == '/' {
			name[i] = '.'
		}
	}
	full := protoreflect.FullName(name)
	return full, full.IsValid()
}

// logUnary reports calls that failed through no fault of their caller.
func logUnary(log *slog.Logger) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		resp, err := handler(ctx, req)
		switch status.Code(err) { //nolint:exhaustive // the others are answers
		case codes.Internal, codes.Unknown, codes.DataLoss:
			log.ErrorContext(ctx, "call failed", "method", info.FullMethod, "error", err)
		}
		return resp, err
	}
}
