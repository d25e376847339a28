package cli

import (
	"context"
	"maps"
	"net"
	"strings"
	"testing"

	"google.golang.org/grpc"

	"github.com/skein-mesh/skein/pkg/apikey"
	"github.com/skein-mesh/skein/pkg/rpc"
	"github.com/skein-mesh/skein/pkg/telemetry"
	"github.com/skein-mesh/skein/pkg/tlsfiles"
	"github.com/skein-mesh/skein/pkg/tlsfiles/tlstest"
	routerv1 "github.com/skein-mesh/skein/proto/gen/skein/router/v1"
)

// serveSecurely runs a router that needs a certificate or a key.
func serveSecurely(t *testing.T, settings rpc.SecuritySettings) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	security, err := rpc.Secure(settings, telemetry.Nop())
	if err != nil {
		t.Fatal(err)
	}
	rules := apikey.Rules{"skein.router.v1.RouterService": {Scope: apikey.Publish}}
	server := rpc.NewServer(telemetry.Nop(), telemetry.Nop().Log, security.Server(rules)...)
	routerv1.RegisterRouterServiceServer(server, &fakeRouter{publish: func(*routerv1.PublishRequest) (*routerv1.PublishResponse, error) {
		return &routerv1.PublishResponse{Owner: "r1"}, nil
	}})
	go server.Serve(listener)
	t.Cleanup(server.Stop)
	return listener.Addr().String()
}

func TestCallersAreKnownByCertificateOrKey(t *testing.T) {
	key, sha := apikey.Make()
	files := tlstest.New(t).Files(t, t.TempDir(), tlstest.Leaf{Name: "operator"})
	keys := apikey.List{APIKeys: []apikey.Key{{Name: "chat", SHA256: sha, Scopes: []string{"publish"}}}}
	mutual := serveSecurely(t, rpc.SecuritySettings{TLS: files})
	both := serveSecurely(t, rpc.SecuritySettings{TLS: files, Keys: keys})
	plain := serveSecurely(t, rpc.SecuritySettings{Keys: keys})
	for name, test := range map[string]struct {
		router string
		env    map[string]string
		code   int
		stderr string
	}{
		"certificate":              {mutual, map[string]string{"SKEIN_TLS_CERT": files.Cert, "SKEIN_TLS_KEY": files.Key, "SKEIN_TLS_CA": files.CA}, 0, ""},
		"no certificate":           {mutual, map[string]string{"SKEIN_TLS_CA": files.CA}, 1, "cannot reach"},
		"no TLS":                   {mutual, nil, 1, "cannot reach"},
		"unknown authority":        {mutual, foreign(t), 1, "unknown authority"},
		"key":                      {both, map[string]string{"SKEIN_TLS_CA": files.CA, "SKEIN_API_KEY": key}, 0, ""},
		"no key":                   {both, map[string]string{"SKEIN_TLS_CA": files.CA}, 1, "an API key is needed"},
		"wrong key":                {both, map[string]string{"SKEIN_TLS_CA": files.CA, "SKEIN_API_KEY": "wrong"}, 1, "not known"},
		"key on the loopback":      {plain, map[string]string{"SKEIN_API_KEY": key}, 0, ""},
		"half of the settings":     {mutual, map[string]string{"SKEIN_TLS_CERT": files.Cert}, 2, "tls-ca"},
		"files that are not there": {mutual, map[string]string{"SKEIN_TLS_CA": "/nowhere"}, 1, "/nowhere"},
	} {
		t.Run(name, func(t *testing.T) {
			env := map[string]string{"SKEIN_ROUTER": test.router}
			maps.Copy(env, test.env)
			r := skein(t, env, "", "publish", "room:1", "e", "{}")
			if r.code != test.code || !strings.Contains(r.stderr, test.stderr) || strings.Contains(r.stderr+r.stdout, key) {
				t.Errorf("exit code %d, want %d, %q", r.code, test.code, r.stderr)
			}
		})
	}
}

func foreign(t *testing.T) map[string]string {
	t.Helper()
	files := tlstest.New(t).Files(t, t.TempDir(), tlstest.Leaf{Name: "x"})
	return map[string]string{"SKEIN_TLS_CERT": files.Cert, "SKEIN_TLS_KEY": files.Key, "SKEIN_TLS_CA": files.CA}
}

// An API key does not leave the machine unencrypted, unless that is asked for.
func TestKeysAreNotSentInTheClear(t *testing.T) {
	pretend := grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
		return elsewhere{conn}, err
	})
	key, sha := apikey.Make()
	router := serveSecurely(t, rpc.SecuritySettings{Keys: apikey.List{APIKeys: []apikey.Key{{Name: "chat", SHA256: sha, Scopes: []string{"publish"}}}}})
	for _, insecure := range []string{"false", "true"} {
		env := map[string]string{"SKEIN_ROUTER": router, "SKEIN_API_KEY": key, "SKEIN_INSECURE": insecure}
		var stdout, stderr strings.Builder
		code := Main(t.Context(), Env{
			Args: []string{"publish", "room:1", "e", "{}"}, Getenv: func(name string) string { return env[name] },
			Stdin: strings.NewReader(""), Stdout: &stdout, Stderr: &stderr, Dial: []grpc.DialOption{pretend},
		})
		if want := map[string]int{"false": 1, "true": 0}[insecure]; code != want {
			t.Errorf("insecure %s: exit code %d, %s", insecure, code, stderr.String())
		}
		if insecure == "false" && !strings.Contains(stderr.String(), tlsfiles.ErrPlaintext.Error()) {
			t.Errorf("got %q", stderr.String())
		}
	}
}

// elsewhere is a connection that looks as if it left the machine.
type elsewhere struct{ net.Conn }

func (elsewhere) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 5000} }
