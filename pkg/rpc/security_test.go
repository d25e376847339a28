package rpc_test

import (
	"context"
	"log/slog"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/skein-mesh/skein/pkg/apikey"
	"github.com/skein-mesh/skein/pkg/bubble"
	"github.com/skein-mesh/skein/pkg/rpc"
	"github.com/skein-mesh/skein/pkg/telemetry"
	"github.com/skein-mesh/skein/pkg/telemetry/logtest"
	"github.com/skein-mesh/skein/pkg/tlsfiles"
	"github.com/skein-mesh/skein/pkg/tlsfiles/tlstest"
)

// server is a server with security, in memory.
type server struct {
	t        *testing.T
	listener *bufconn.Listener
	log      *logtest.Buffer
	reader   *sdkmetric.ManualReader
	stop     func()
}

// observed is telemetry that a test can read.
func observed(log *logtest.Buffer, reader *sdkmetric.ManualReader) *telemetry.Telemetry {
	tel := telemetry.Nop()
	tel.Log = slog.New(slog.NewTextHandler(log, nil))
	tel.Meter = sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)).Meter("test")
	return tel
}

func start(t *testing.T, settings rpc.SecuritySettings) *server {
	t.Helper()
	s := &server{t: t, listener: bufconn.Listen(1 << 16), log: &logtest.Buffer{}, reader: sdkmetric.NewManualReader()}
	tel := observed(s.log, s.reader)
	security, err := rpc.Secure(settings, tel)
	if err != nil {
		t.Fatal(err)
	}
	grpcServer := rpc.NewServer(tel, tel.Log, security.Server(apikey.Rules{})...)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- rpc.Serve(ctx, grpcServer, s.listener) }()
	s.stop = func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		time.Sleep(time.Minute) // virtual time: gRPC's timers end
	}
	return s
}

// client returns a connection with security of its own.
func (s *server) client(settings rpc.SecuritySettings) *grpc.ClientConn {
	s.t.Helper()
	security, err := rpc.Secure(settings, telemetry.Nop())
	if err != nil {
		s.t.Fatal(err)
	}
	conn, err := rpc.Dial("passthrough:///localhost:5000", append(security.Client(),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return s.listener.DialContext(ctx) }))...)
	if err != nil {
		s.t.Fatal(err)
	}
	return conn
}

// ask makes one call on a new connection.
func (s *server) ask(settings rpc.SecuritySettings) error {
	s.t.Helper()
	conn := s.client(settings)
	defer conn.Close()
	return check(s.t, conn)
}

func check(t *testing.T, conn *grpc.ClientConn) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	_, err := healthv1.NewHealthClient(conn).Check(ctx, &healthv1.HealthCheckRequest{})
	return err
}

// refused counts refusals for a reason.
func (s *server) refused(reason string) (count int64) {
	s.t.Helper()
	var all metricdata.ResourceMetrics
	if err := s.reader.Collect(s.t.Context(), &all); err != nil {
		s.t.Fatal(err)
	}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			sum, ok := m.Data.(metricdata.Sum[int64])
			if !ok || m.Name != "skein.refused" {
				continue
			}
			for _, point := range sum.DataPoints {
				if value, _ := point.Attributes.Value("reason"); value.AsString() == reason {
					count += point.Value
				}
			}
		}
	}
	return count
}

func TestOnlyCertificatesOfTheFleetConnect(t *testing.T) {
	for name, test := range map[string]struct {
		client func(t *testing.T, own *tlstest.Authority) rpc.SecuritySettings
		reason string // "" if it is served
	}{
		"its own": {func(t *testing.T, own *tlstest.Authority) rpc.SecuritySettings {
			return rpc.SecuritySettings{TLS: own.Files(t, t.TempDir(), tlstest.Leaf{Name: "edge"})}
		}, ""},
		"an unknown authority's": {func(t *testing.T, own *tlstest.Authority) rpc.SecuritySettings {
			foreign := tlstest.New(t).Files(t, t.TempDir(), tlstest.Leaf{Name: "edge"})
			foreign.CA = own.Files(t, t.TempDir(), tlstest.Leaf{}).CA
			return rpc.SecuritySettings{TLS: foreign}
		}, "unknown_ca"},
		"an expired one": {func(t *testing.T, own *tlstest.Authority) rpc.SecuritySettings {
			return rpc.SecuritySettings{TLS: own.Files(t, t.TempDir(), tlstest.Leaf{Name: "edge", Until: time.Now().Add(-time.Second)})}
		}, "expired"},
		"none": {func(t *testing.T, own *tlstest.Authority) rpc.SecuritySettings {
			return rpc.SecuritySettings{TLS: tlsfiles.TLS{CA: own.Files(t, t.TempDir(), tlstest.Leaf{}).CA}}
		}, "no_certificate"},
		"no TLS": {func(*testing.T, *tlstest.Authority) rpc.SecuritySettings { return rpc.SecuritySettings{} }, "plaintext"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				own := tlstest.New(t)
				s := start(t, rpc.SecuritySettings{TLS: own.Files(t, t.TempDir(), tlstest.Leaf{Name: "router"})})
				defer s.stop()
				err := s.ask(test.client(t, own))
				if test.reason == "" {
					if err != nil || s.log.String() != "" {
						t.Errorf("got %v, log %q", err, s.log)
					}
					return
				}
				if code := status.Code(err); code != codes.Unavailable && code != codes.DeadlineExceeded {
					t.Errorf("got %v", err)
				}
				if s.refused(test.reason) == 0 || strings.Count(s.log.String(), "reason="+test.reason) != 1 {
					t.Errorf("counted %d, log %q", s.refused(test.reason), s.log)
				}
			})
		})
	}
}

// A client trusts no server by itself: a wrong one is refused, logged and
// counted there.
func TestClientsRefuseServers(t *testing.T) {
	for name, test := range map[string]struct {
		settings func(t *testing.T, own *tlstest.Authority, leaf *tlstest.Leaf) tlsfiles.TLS
		reason   string
	}{
		"unknown authority": {func(t *testing.T, _ *tlstest.Authority, _ *tlstest.Leaf) tlsfiles.TLS {
			return tlstest.New(t).Files(t, t.TempDir(), tlstest.Leaf{Name: "edge"})
		}, "unknown_ca"},
		"expired": {func(t *testing.T, own *tlstest.Authority, leaf *tlstest.Leaf) tlsfiles.TLS {
			leaf.Until = time.Now().Add(-time.Hour)
			return own.Files(t, t.TempDir(), tlstest.Leaf{Name: "edge"})
		}, "expired"},
		"other name": {func(t *testing.T, own *tlstest.Authority, _ *tlstest.Leaf) tlsfiles.TLS {
			settings := own.Files(t, t.TempDir(), tlstest.Leaf{Name: "edge"})
			settings.Name = "somebody-else"
			return settings
		}, "wrong_name"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				own, leaf := tlstest.New(t), tlstest.Leaf{Name: "router"}
				settings := test.settings(t, own, &leaf)
				s := start(t, rpc.SecuritySettings{TLS: own.Files(t, t.TempDir(), leaf)})
				defer s.stop()
				side := server{t: t, log: &logtest.Buffer{}, reader: sdkmetric.NewManualReader()}
				security, err := rpc.Secure(rpc.SecuritySettings{TLS: settings}, observed(side.log, side.reader))
				if err != nil {
					t.Fatal(err)
				}
				conn, err := rpc.Dial("passthrough:///localhost:5000", append(security.Client(),
					grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return s.listener.DialContext(ctx) }))...)
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				if err := check(t, conn); err == nil {
					t.Error("the server was taken")
				}
				if side.refused(test.reason) == 0 || !strings.Contains(side.log.String(), "reason="+test.reason) {
					t.Errorf("counted %d, log %q", side.refused(test.reason), side.log)
				}
			})
		})
	}
}

func TestServerNameReplacesTheDialledHost(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		own := tlstest.New(t)
		s := start(t, rpc.SecuritySettings{TLS: own.Files(t, t.TempDir(), tlstest.Leaf{Name: "skein.internal"})})
		defer s.stop()
		settings := own.Files(t, t.TempDir(), tlstest.Leaf{Name: "edge"})
		settings.Name = "skein.internal"
		if err := s.ask(rpc.SecuritySettings{TLS: settings}); err != nil {
			t.Error(err)
		}
	})
}

// With API keys a caller needs no certificate to connect, but then a key.
func TestAPIKeysOpenTheDoorToCallersWithoutCertificate(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		own := tlstest.New(t)
		_, sha := apikey.Make()
		s := start(t, rpc.SecuritySettings{
			TLS:  own.Files(t, t.TempDir(), tlstest.Leaf{Name: "router"}),
			Keys: apikey.List{APIKeys: []apikey.Key{{Name: "chat", SHA256: sha, Scopes: []string{"publish"}}}},
		})
		defer s.stop()
		ca := own.Files(t, t.TempDir(), tlstest.Leaf{}).CA
		if err := s.ask(rpc.SecuritySettings{TLS: tlsfiles.TLS{CA: ca}}); err != nil {
			t.Errorf("the health check: %v", err)
		}
		foreign := tlstest.New(t).Files(t, t.TempDir(), tlstest.Leaf{Name: "edge"})
		foreign.CA = ca
		if err := s.ask(rpc.SecuritySettings{TLS: foreign}); err == nil || s.refused("unknown_ca") == 0 {
			t.Errorf("a foreign certificate is worse than none: %v", err)
		}
	})
}

// Old connections go on, new ones see the new certificate, although the old one
// has expired by then.
func TestCertificatesAreReadAgain(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		own, dir := tlstest.New(t), t.TempDir()
		s := start(t, rpc.SecuritySettings{TLS: own.Files(t, dir, tlstest.Leaf{Name: "router", Until: time.Now().Add(time.Minute)})})
		defer s.stop()
		client := rpc.SecuritySettings{TLS: own.Files(t, t.TempDir(), tlstest.Leaf{Name: "edge", Until: time.Now().Add(12 * time.Hour)})}
		old := s.client(client)
		defer old.Close()
		if err := check(t, old); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute) // virtual time
		if err := s.ask(client); err == nil {
			t.Error("the expired certificate was taken")
		}
		if err := check(t, old); err != nil {
			t.Errorf("the connection that stood: %v", err)
		}
		own.Files(t, dir, tlstest.Leaf{Name: "router"})
		time.Sleep(2 * time.Second) // virtual time
		if err := s.ask(client); err != nil {
			t.Errorf("after the new certificate was written: %v", err)
		}
		if err := check(t, old); err != nil {
			t.Errorf("the connection that stood: %v", err)
		}
		if !strings.Contains(s.log.String(), "new certificates are in use") {
			t.Errorf("log is %q", s.log)
		}
	})
}

// An authority is replaced by trusting both for a while.
func TestAuthoritiesAreReadAgain(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		first, second, dir := tlstest.New(t), tlstest.New(t), t.TempDir()
		settings := first.Files(t, dir, tlstest.Leaf{Name: "router"})
		s := start(t, rpc.SecuritySettings{TLS: settings})
		defer s.stop()
		client := second.Files(t, t.TempDir(), tlstest.Leaf{Name: "edge"})
		both, err := os.ReadFile(settings.CA)
		if err != nil {
			t.Fatal(err)
		}
		more, err := os.ReadFile(client.CA)
		if err != nil {
			t.Fatal(err)
		}
		client.CA = settings.CA // it trusts the first
		if err := s.ask(rpc.SecuritySettings{TLS: client}); err == nil {
			t.Fatal("the second authority was trusted too early")
		}
		if err := os.WriteFile(settings.CA, append(both, more...), 0o600); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second) // virtual time
		if err := s.ask(rpc.SecuritySettings{TLS: client}); err != nil {
			t.Error(err)
		}
	})
}

// Files that are half written, or wrong, leave the old ones in use and are
// complained about once.
func TestFilesThatDoNotFitAreNotUsed(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		own, dir := tlstest.New(t), t.TempDir()
		settings := own.Files(t, dir, tlstest.Leaf{Name: "router"})
		s := start(t, rpc.SecuritySettings{TLS: settings})
		defer s.stop()
		client := rpc.SecuritySettings{TLS: own.Files(t, t.TempDir(), tlstest.Leaf{Name: "edge"})}
		if err := os.WriteFile(settings.Key, []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			time.Sleep(2 * time.Second) // virtual time
			if err := s.ask(client); err != nil {
				t.Error(err)
			}
		}
		if n := strings.Count(s.log.String(), "cannot be used"); n != 1 || strings.Contains(s.log.String(), "half") {
			t.Errorf("%d complaints, log %q", n, s.log)
		}
		if err := os.Remove(settings.Cert); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second) // virtual time
		if err := s.ask(client); err != nil {
			t.Error(err)
		}
	})
}

func TestSecureSaysWhichFileIsWrong(t *testing.T) {
	own, dir := tlstest.New(t), t.TempDir()
	good := own.Files(t, dir, tlstest.Leaf{Name: "x"})
	for want, change := range map[string]func(*rpc.SecuritySettings){
		"nothing.crt": func(s *rpc.SecuritySettings) { s.TLS.Cert = dir + "/nothing.crt" },
		"key":         func(s *rpc.SecuritySettings) { s.TLS.Key = s.TLS.Cert },
		"PEM":         func(s *rpc.SecuritySettings) { s.TLS.CA = s.TLS.Key },
		`"chat"`: func(s *rpc.SecuritySettings) {
			s.Keys.APIKeys = []apikey.Key{{Name: "chat", File: dir + "/none", Scopes: []string{"publish"}}}
		},
	} {
		settings := rpc.SecuritySettings{TLS: good}
		change(&settings)
		if _, err := rpc.Secure(settings, telemetry.Nop()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", want, err)
		}
	}
}
