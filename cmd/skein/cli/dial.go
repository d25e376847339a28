package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/skein-mesh/skein/pkg/apikey"
	"github.com/skein-mesh/skein/pkg/rpc"
	"github.com/skein-mesh/skein/pkg/tlsfiles"
)

// service is a kind of process that the tool talks to.
type service struct {
	name  string // for messages, with its article
	flag  string
	start string // how to run one
}

// router connects to the first of the routers that answers.
func (a *app) router(ctx context.Context) (*grpc.ClientConn, error) {
	return a.first(ctx, service{
		"a router", "--router", "bin/skein-router, or bin/skein dev --grpc 127.0.0.1:5000",
	}, a.common.Router)
}

// presence connects to the first of the presence instances that answers.
func (a *app) presence(ctx context.Context) (*grpc.ClientConn, error) {
	return a.first(ctx, service{
		"a presence instance", "--presence", "bin/skein-presence, or bin/skein dev --presence-grpc 127.0.0.1:6000",
	}, a.common.Presence)
}

func (a *app) first(ctx context.Context, s service, addresses []string) (*grpc.ClientConn, error) {
	var errs []error
	for _, address := range addresses {
		conn, err := a.connect(ctx, address)
		if err == nil {
			return conn, nil
		}
		errs = append(errs, err)
	}
	reasons := strings.ReplaceAll(errors.Join(errs...).Error(), "\n", "; ")
	return nil, fmt.Errorf("cannot reach %s at %s: %s\nStart one with %s, or name another with %s HOST:PORT",
		s.name, strings.Join(addresses, ", "), reasons, s.start, s.flag)
}

// connect returns a connection that works now. The health check makes it dial;
// any answer will do, even of a server that has no such service.
func (a *app) connect(ctx context.Context, address string) (*grpc.ClientConn, error) {
	secure, err := a.secure.options(a.common)
	if err != nil {
		return nil, err
	}
	conn, err := rpc.Dial(address, slices.Concat(secure, a.Dial)...)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, a.common.Timeout)
	defer cancel()
	_, err = healthv1.NewHealthClient(conn).Check(ctx, &healthv1.HealthCheckRequest{})
	if err == nil || status.Code(err) == codes.Unimplemented || conn.GetState() == connectivity.Ready {
		return conn, nil
	}
	_ = conn.Close() // it never worked
	return nil, plain(err)
}

// secure protects connections. Files are read once.
type secure struct {
	once    sync.Once
	dial    []grpc.DialOption
	problem error
}

func (s *secure) options(c *common) ([]grpc.DialOption, error) {
	s.once.Do(func() { s.dial, s.problem = c.protection() })
	return s.dial, s.problem
}

// protection returns the options by which connections are protected and say who
// calls.
func (c *common) protection() ([]grpc.DialOption, error) {
	var options []grpc.DialOption
	if c.Enabled() {
		files, err := tlsfiles.Load(c.TLS, slog.New(slog.DiscardHandler))
		if err != nil {
			return nil, err
		}
		options = append(options, grpc.WithTransportCredentials(files.ClientCredentials(nil)))
	}
	if c.APIKey != "" {
		options = append(options, apikey.Send(c.APIKey))
		if !c.Enabled() {
			options = append(options, grpc.WithTransportCredentials(tlsfiles.Plaintext(c.Insecure, nil)))
		}
	}
	return options, nil
}

// question bounds the time of one call.
func (a *app) question(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, a.common.Timeout)
}

// plain is err in words for people, without gRPC's own.
func plain(err error) error {
	s, ok := status.FromError(err)
	if !ok {
		return err
	}
	text := s.Message()
	for _, noise := range []string{"connection error: desc = ", "transport: Error while dialing: "} {
		text = strings.ReplaceAll(text, noise, "")
	}
	if quoted, ok := strings.CutPrefix(text, `"`); ok { // what stood behind the noise
		text = strings.TrimSuffix(quoted, `"`)
	}
	switch s.Code() { //nolint:exhaustive // the others speak for themselves
	case codes.DeadlineExceeded:
		return errors.New("no answer in time")
	case codes.Unavailable, codes.InvalidArgument, codes.ResourceExhausted, codes.NotFound, codes.FailedPrecondition, codes.Aborted:
		return errors.New(text)
	}
	return fmt.Errorf("%s (%s)", text, s.Code())
}
