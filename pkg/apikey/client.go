package apikey

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

// Send returns the options of a connection that shows key with every call.
// Whoever makes the connection sees to it that it is encrypted, or stays on the
// machine.
func Send(key string) grpc.DialOption {
	return grpc.WithPerRPCCredentials(token(key))
}

type token string

// GetRequestMetadata implements [google.golang.org/grpc/credentials.PerRPCCredentials].
func (t token) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{header: "Bearer " + string(t)}, nil
}

// RequireTransportSecurity implements [google.golang.org/grpc/credentials.PerRPCCredentials].
// gRPC takes a connection over the loopback for insecure.
func (token) RequireTransportSecurity() bool { return false }

// Forward returns the options of a connection that shows the key of the call
// that is being served: a service that asks another one of its kind, without a
// certificate of its own, does so in the name of its caller.
func Forward() []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			return invoke(forward(ctx), method, req, reply, cc, opts...)
		}),
		grpc.WithChainStreamInterceptor(func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
			return open(forward(ctx), desc, cc, method, opts...)
		}),
	}
}

func forward(ctx context.Context) context.Context {
	if key, ok := bearer(ctx); ok {
		return metadata.AppendToOutgoingContext(ctx, header, "Bearer "+key)
	}
	return ctx
}
