package bench

import (
	"context"
	"fmt"
	"net"
	"sync/atomic"

	tracev1 "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"
)

// collector takes spans by OTLP and counts them.
type collector struct {
	tracev1.UnimplementedTraceServiceServer

	spans  atomic.Int64
	server *grpc.Server
	url    string
}

// startCollector listens on a free port of the loopback until stop.
func startCollector(ctx context.Context) (*collector, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("collector: %w", err)
	}
	c := &collector{server: grpc.NewServer(), url: "http://" + listener.Addr().String()}
	tracev1.RegisterTraceServiceServer(c.server, c)
	go func() { _ = c.server.Serve(listener) }() // until stop; without it the fleet says that spans were not exported
	return c, nil
}

func (c *collector) stop() { c.server.Stop() }

// Export implements opentelemetry.proto.collector.trace.v1.
func (c *collector) Export(_ context.Context, req *tracev1.ExportTraceServiceRequest) (*tracev1.ExportTraceServiceResponse, error) {
	for _, resource := range req.GetResourceSpans() {
		for _, scope := range resource.GetScopeSpans() {
			c.spans.Add(int64(len(scope.GetSpans())))
		}
	}
	return &tracev1.ExportTraceServiceResponse{}, nil
}
