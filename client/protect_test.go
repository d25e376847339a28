package client_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/skein-mesh/skein/client"
	routerv1 "github.com/skein-mesh/skein/proto/gen/skein/router/v1"
)

// certificate is one for "router" that signs itself, and who trusts it.
func certificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"router"}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

// guarded is a router that wants a key.
func guarded() *fake {
	return &fake{publish: func(ctx context.Context, _ *routerv1.PublishRequest) (*routerv1.PublishResponse, error) {
		if !slices.Equal(metadata.ValueFromIncomingContext(ctx, "authorization"), []string{"Bearer secret"}) {
			return nil, status.Error(codes.Unauthenticated, "who?")
		}
		return &routerv1.PublishResponse{Owner: "r1"}, nil
	}}
}

func TestTLSAndKey(t *testing.T) {
	own, trusted := certificate(t)
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.Creds(credentials.NewTLS(&tls.Config{Certificates: []tls.Certificate{own}, MinVersion: tls.VersionTLS13})))
	routerv1.RegisterRouterServiceServer(server, guarded())
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	defer func() {
		server.Stop()
		<-done
	}()
	trust := &tls.Config{RootCAs: trusted, ServerName: "router", MinVersion: tls.VersionTLS13}
	for name, c := range map[string]struct {
		options client.Options
		code    codes.Code
	}{
		"right":     {client.Options{TLS: trust, APIKey: "secret"}, codes.OK},
		"wrong key": {client.Options{TLS: trust, APIKey: "guess"}, codes.Unauthenticated},
		"no key":    {client.Options{TLS: trust}, codes.Unauthenticated},
		"no trust":  {client.Options{TLS: &tls.Config{ServerName: "router", MinVersion: tls.VersionTLS13}, APIKey: "secret", Timeout: time.Second}, codes.Unavailable},
		"no TLS":    {client.Options{APIKey: "secret", Timeout: time.Second}, codes.Unavailable},
	} {
		made, err := client.New([]string{listener.Addr().String()}, c.options)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := made.Publish(t.Context(), "room:1", "e", nil); status.Code(err) != c.code {
			t.Errorf("%s: %v", name, err)
		}
		if err := made.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A key is not shown where others may read it, unless that is said.
func TestKeysNeedProtection(t *testing.T) {
	withFakes(t, map[string]*fake{"a": guarded()}, func(t *testing.T, n *network) {
		c := n.client(t, client.Options{APIKey: "secret", Insecure: true}, "a")
		defer c.Close()
		if _, err := c.Publish(t.Context(), "room:1", "e", nil); err != nil {
			t.Error(err)
		}
	})
	for address, good := range map[string]bool{
		"127.0.0.1:5000": true, "[::1]:5000": true, "localhost:5000": true, "10.0.0.1:5000": false, "dns:///routers:5000": false,
	} {
		c, err := client.New([]string{"127.0.0.1:1", address}, client.Options{APIKey: "secret"})
		if good != (err == nil) || !good && (!strings.Contains(err.Error(), address) || strings.Contains(err.Error(), "secret")) {
			t.Errorf("%s: %v", address, err)
		}
		if err == nil {
			_ = c.Close()
		}
	}
	if _, err := client.New(nil, client.Options{}); err == nil {
		t.Error("a client of no router")
	}
}
