// Package client is the way of a Go backend to Skein: it publishes to topics,
// listens to them, and disconnects clients, through any of several routers.
//
//	c, err := client.New([]string{"r1:5000", "r2:5000"}, client.Options{})
//	_, err = c.Publish(ctx, "room:lobby", "message", map[string]string{"text": "hello"})
//	for m, err := range c.Subscribe(ctx, client.Subscription{Prefix: "room:"}) { ... }
//
// A client stays with one router and goes to the next when that one fails or
// leaves. A call that surely was not carried out is tried again until its
// deadline; whether one that may have been is, [Options].Repeat says.
package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	routerv1 "github.com/skein-mesh/skein/proto/gen/skein/router/v1"
)

// DefaultTimeout is how long a call may take whose context has no deadline.
const DefaultTimeout = 10 * time.Second

// maxMessageSize is the largest message that routers take and send, in bytes.
const maxMessageSize = 16 << 20

// Options of a client. The zero value is for routers on this machine.
type Options struct {
	TLS      *tls.Config   // to the routers; nil means that nothing is encrypted
	APIKey   string        // shown with every call; without TLS only to routers on this machine, unless Insecure
	Insecure bool          // show the key even where others may read it
	Timeout  time.Duration // of a call whose context has no deadline, with all its attempts; 0 for [DefaultTimeout]

	// Repeat publishes again when nobody knows whether a message was, as after a
	// connection broke in between: subscribers may then get it twice. Without it
	// such a publish fails with [ErrUncertain].
	Repeat bool

	// Batch sends what is published at the same time in one call. It adds no
	// delay: messages wait only while the call before is under way.
	Batch bool

	Dial []grpc.DialOption // more options of the connections, such as a tracer's
}

// Client talks to the routers of a fleet. All methods may be called
// concurrently.
type Client struct {
	// Static after construction.
	options Options
	routers []router
	batcher *batcher // nil unless options.Batch

	current atomic.Uint64 // counts on with each failover; modulo the routers it is the one in use
}

// router is a connection to one of them.
type router struct {
	address string
	conn    *grpc.ClientConn
	api     routerv1.RouterServiceClient
}

// New returns a client of the routers at the addresses, each "host:port" or any
// gRPC target. It does not connect yet; connections come with the first call,
// and come back by themselves.
func New(addresses []string, o Options) (*Client, error) {
	if len(addresses) == 0 {
		return nil, errors.New("client: name at least one router, host:port")
	}
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	c := &Client{options: o}
	c.current.Store(rand.Uint64N(uint64(len(addresses)))) //nolint:gosec // spreads clients over routers
	if o.Batch {
		c.batcher = &batcher{client: c}
	}
	for _, address := range addresses {
		if o.APIKey != "" && o.TLS == nil && !o.Insecure && !loopback(address) {
			return nil, errors.Join(c.Close(), fmt.Errorf("client: the API key could be read on the way to %s: set TLS or, on a network you trust, Insecure", address))
		}
		conn, err := grpc.NewClient(address, o.dial()...)
		if err != nil {
			return nil, errors.Join(c.Close(), fmt.Errorf("client: router %s: %w", address, err))
		}
		c.routers = append(c.routers, router{address, conn, routerv1.NewRouterServiceClient(conn)})
	}
	return c, nil
}

// dial are the options of a connection.
func (o Options) dial() []grpc.DialOption {
	transport := insecure.NewCredentials()
	if o.TLS != nil {
		transport = credentials.NewTLS(o.TLS.Clone())
	}
	dial := []grpc.DialOption{
		grpc.WithTransportCredentials(transport),
		grpc.WithStatsHandler(sentWatcher{}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessageSize), grpc.MaxCallSendMsgSize(maxMessageSize)),
		// A router that is gone without a word is noticed in twelve seconds.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 2 * time.Second}),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
			MinConnectTimeout: 2 * time.Second,
		}),
	}
	if o.APIKey != "" {
		dial = append(dial, grpc.WithPerRPCCredentials(apiKey{o.APIKey, o.TLS != nil}))
	}
	return append(dial, o.Dial...)
}

// loopback reports whether a target can be reached from this machine only.
func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// apiKey shows itself with every call. It implements
// [credentials.PerRPCCredentials].
type apiKey struct {
	key    string
	secure bool // the connection must be
}

// GetRequestMetadata implements [credentials.PerRPCCredentials].
func (k apiKey) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + k.key}, nil
}

// RequireTransportSecurity implements [credentials.PerRPCCredentials].
func (k apiKey) RequireTransportSecurity() bool { return k.secure }

// Close ends all connections; what is under way fails. It waits for the
// goroutine that sends batches. The client must not be used any more.
func (c *Client) Close() error {
	var errs []error
	for _, r := range c.routers {
		errs = append(errs, r.conn.Close())
	}
	if c.batcher != nil {
		c.batcher.running.Wait()
	}
	return errors.Join(errs...)
}
