package handlers

import (
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	_ "google.golang.org/grpc/xds" // xds:/// targets, and the outlier detection of serviceConfig

	"github.com/skein-mesh/skein/pkg/rpc"
	"github.com/skein-mesh/skein/pkg/telemetry"
	handlerv1 "github.com/skein-mesh/skein/proto/gen/skein/handler/v1"
)

// serviceConfig is how gRPC calls a backend, unless an xds:/// target says
// otherwise.
//
// Calls go round the instances. An instance that fails 85 % of at least ten
// calls within five seconds is left out for a while, longer each time: the
// circuit breaker; at least half of the instances stay in. A backend that serves
// grpc.health.v1 may take itself out. Whatever may be asked twice is retried
// while an instance is unreachable, until half of the last hundred calls failed.
// A push is tried again only if it certainly reached nobody, which gRPC does by
// itself.
const serviceConfig = `{
	"loadBalancingConfig": [{"outlier_detection_experimental": {
		"interval": "5s", "baseEjectionTime": "5s", "maxEjectionTime": "60s", "maxEjectionPercent": 50,
		"failurePercentageEjection": {"threshold": 85, "enforcementPercentage": 100, "minimumHosts": 2, "requestVolume": 10},
		"childPolicy": [{"round_robin": {}}]
	}}],
	"methodConfig": [{
		"name": [
			{"service": "skein.handler.v1.ChannelHandler", "method": "Connect"},
			{"service": "skein.handler.v1.ChannelHandler", "method": "Join"},
			{"service": "skein.handler.v1.ChannelHandler", "method": "CheckOrigin"},
			{"service": "skein.handler.v1.ChannelHandler", "method": "Leave"}
		],
		"waitForReady": false,
		"retryPolicy": {
			"maxAttempts": 3, "initialBackoff": "0.05s", "maxBackoff": "0.5s", "backoffMultiplier": 3,
			"retryableStatusCodes": ["UNAVAILABLE"]
		}
	}, {
		"name": [{"service": "skein.handler.v1.ChannelHandler", "method": "Push"}],
		"waitForReady": false
	}],
	"retryThrottling": {"maxTokens": 100, "tokenRatio": 0.1},
	"healthCheckConfig": {"serviceName": ""}
}`

// Dial returns what connects a proxy to backends, with extra options.
func Dial(tel *telemetry.Telemetry, extra ...grpc.DialOption) func(target string) (*grpc.ClientConn, error) {
	options := append([]grpc.DialOption{rpc.Traced(tel)}, extra...)
	return func(target string) (*grpc.ClientConn, error) {
		return rpc.DialBackend(target, serviceConfig, options...)
	}
}

// backend is one target. Its bound is the bulkhead: calls to a backend that
// does not answer fill it and nothing else.
type backend struct {
	// Static after construction.
	target string
	dial   func(target string) (*grpc.ClientConn, error)
	limit  int

	mu       sync.Mutex       // guards the fields below
	conn     *grpc.ClientConn // nil until the first call
	underWay int
	closed   bool
}

// enter begins a call, which leave ends unless there is an error.
func (b *backend) enter() (handlerv1.ChannelHandlerClient, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.closed:
		return nil, status.Error(codes.Unavailable, "this router is stopping")
	case b.underWay >= b.limit:
		return nil, status.Errorf(codes.ResourceExhausted, "handler %s: %d calls are under way, which is the most", b.target, b.limit)
	case b.conn == nil:
		conn, err := b.dial(b.target)
		if err != nil {
			return nil, status.Errorf(codes.Internal, "handler: %v", err)
		}
		b.conn = conn
	}
	b.underWay++
	return handlerv1.NewChannelHandlerClient(b.conn), nil
}

func (b *backend) leave() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.underWay--
}

func (b *backend) close() {
	b.mu.Lock()
	conn := b.conn
	b.conn, b.closed = nil, true
	b.mu.Unlock()
	if conn != nil {
		_ = conn.Close() // it has nothing to flush
	}
}
