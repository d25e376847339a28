package rpc

import (
	"context"
	"log/slog"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/skein-mesh/skein/pkg/apikey"
)

// maxAudited bounds, in bytes, what of a request is logged.
const maxAudited = 1 << 10

// Audited makes a server log each call of the methods that which picks by their
// full names: who made it, from where, what was asked and how it ended. It belongs
// on what changes a fleet or shows its users. Lines are written at a level that is
// shown unless errors are not.
func Audited(log *slog.Logger, which func(method string) bool) grpc.ServerOption {
	return grpc.ChainUnaryInterceptor(audit(log, which))
}

func audit(log *slog.Logger, which func(method string) bool) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		if !which(info.FullMethod) {
			return handler(ctx, req)
		}
		began := time.Now()
		resp, err := handler(ctx, req)
		log.WarnContext(ctx, "audit", "method", info.FullMethod, "by", Caller(ctx), "request", asked(req),
			"code", status.Code(err).String(), "took", time.Since(began))
		return resp, err
	}
}

// Caller says who makes a call, for logs: the name of the key or certificate, and
// where it comes from.
func Caller(ctx context.Context) string {
	if name := apikey.Caller(ctx); name != "" {
		return name + " at " + address(ctx)
	}
	return address(ctx)
}

func address(ctx context.Context) string {
	if from, ok := peer.FromContext(ctx); ok && from.Addr != nil {
		return from.Addr.String()
	}
	return "unknown"
}

func asked(req any) string {
	m, ok := req.(proto.Message)
	if !ok {
		return ""
	}
	text, err := protojson.Marshal(m)
	if err != nil {
		return "not to be shown: " + err.Error()
	}
	return string(text[:min(len(text), maxAudited)])
}
