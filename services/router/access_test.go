package router_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/skein-mesh/skein/pkg/apikey"
	"github.com/skein-mesh/skein/pkg/rpc"
	"github.com/skein-mesh/skein/pkg/telemetry"
	"github.com/skein-mesh/skein/pkg/telemetry/logtest"
	"github.com/skein-mesh/skein/pkg/tlsfiles"
	"github.com/skein-mesh/skein/pkg/tlsfiles/tlstest"
	adminv1 "github.com/skein-mesh/skein/proto/gen/skein/admin/v1"
	handlerv1 "github.com/skein-mesh/skein/proto/gen/skein/handler/v1"
	meshv1 "github.com/skein-mesh/skein/proto/gen/skein/mesh/v1"
	routerv1 "github.com/skein-mesh/skein/proto/gen/skein/router/v1"
)

// doors are a fleet with API keys, and what callers need.
type doors struct {
	keys map[string]string // by name
	ca   tlsfiles.TLS      // of a caller without certificate
	log  *logtest.Buffer
}

// secure is for [inSecureFleet].
func (d *doors) secure(protected bool) func(t *testing.T) rpc.Security {
	return func(t *testing.T) rpc.Security {
		t.Helper()
		d.keys, d.log = map[string]string{}, &logtest.Buffer{}
		settings := rpc.SecuritySettings{}
		for _, k := range []apikey.Key{
			{Name: "publisher", Scopes: []string{"publish"}},
			{Name: "listener", Scopes: []string{"subscribe", "inspect"}},
			{Name: "rooms", Scopes: []string{"publish", "subscribe", "inspect", "disconnect"}, Topics: []string{"room:*", "lobby"}},
			{Name: "operator", Scopes: []string{"admin"}},
		} {
			d.keys[k.Name], k.SHA256 = apikey.Make()
			settings.Keys.APIKeys = append(settings.Keys.APIKeys, k)
		}
		if protected {
			authority := tlstest.New(t)
			settings.TLS = authority.Files(t, t.TempDir(), tlstest.Leaf{Name: "fleet", Until: time.Now().Add(time.Hour)})
			settings.TLS.Name = "fleet"
			d.ca = tlsfiles.TLS{CA: settings.TLS.CA, Name: "fleet"}
		}
		tel := telemetry.Nop()
		tel.Log = slog.New(slog.NewTextHandler(d.log, nil))
		security, err := rpc.Secure(settings, tel)
		if err != nil {
			t.Fatal(err)
		}
		return security
	}
}

// outsider connects to a router without a certificate.
func (d *doors) outsider(t *testing.T, f *fleet, n *node) *grpc.ClientConn {
	t.Helper()
	outside, err := rpc.Secure(rpc.SecuritySettings{TLS: d.ca}, telemetry.Nop())
	if err != nil {
		t.Fatal(err)
	}
	conn, err := rpc.Dial("passthrough:///"+n.id, append(outside.Client(), f.dialer())...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// as returns a context that shows a key, "" for none.
func (d *doors) as(t *testing.T, name string) context.Context {
	t.Helper()
	key, ok := d.keys[name]
	switch {
	case ok:
	case name == "":
		return t.Context()
	default:
		key = "unknown"
	}
	return metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+key)
}

// tries are one call of each kind; each returns the error of a call.
var tries = map[string]func(ctx context.Context, conn *grpc.ClientConn) error{
	"health": func(ctx context.Context, conn *grpc.ClientConn) error {
		_, err := healthv1.NewHealthClient(conn).Check(ctx, &healthv1.HealthCheckRequest{})
		return err
	},
	"publish": func(ctx context.Context, conn *grpc.ClientConn) error {
		_, err := routerv1.NewRouterServiceClient(conn).Publish(ctx, &routerv1.PublishRequest{Message: message("room:1", "e")})
		return err
	},
	"publish elsewhere": func(ctx context.Context, conn *grpc.ClientConn) error {
		_, err := routerv1.NewRouterServiceClient(conn).PublishBatch(ctx, &routerv1.PublishBatchRequest{
			Messages: []*routerv1.Message{message("room:1", "e"), message("other:1", "e")},
		})
		return err
	},
	"publish stream elsewhere": func(ctx context.Context, conn *grpc.ClientConn) error {
		stream, err := routerv1.NewRouterServiceClient(conn).PublishStream(ctx)
		if err != nil {
			return err
		}
		for i, topic := range []string{"room:1", "other:1"} {
			if err := stream.Send(&routerv1.PublishStreamRequest{Seq: uint64(i), Message: message(topic, "e")}); err != nil {
				break // Recv knows why
			}
		}
		for range 2 {
			if _, err = stream.Recv(); err != nil {
				return err
			}
		}
		return nil
	},
	"subscribe":                    subscribing(&routerv1.SubscribeRequest{Filter: &routerv1.SubscribeRequest_Topic{Topic: "lobby"}}),
	"subscribe to all below lobby": subscribing(&routerv1.SubscribeRequest{Filter: &routerv1.SubscribeRequest_Prefix{Prefix: "lobby"}}),
	"subscribe to rooms":           subscribing(&routerv1.SubscribeRequest{Filter: &routerv1.SubscribeRequest_Prefix{Prefix: "room:"}}),
	"topic": func(ctx context.Context, conn *grpc.ClientConn) error {
		for i := range 8 { // owned by either router
			if _, err := routerv1.NewRouterServiceClient(conn).TopicInfo(ctx, &routerv1.TopicInfoRequest{Topic: fmt.Sprintf("room:%d", i)}); err != nil {
				return err
			}
		}
		return nil
	},
	"disconnect a topic": func(ctx context.Context, conn *grpc.ClientConn) error {
		_, err := routerv1.NewRouterServiceClient(conn).Disconnect(ctx, &routerv1.DisconnectRequest{Topic: "room:1"})
		return err
	},
	"disconnect a user": func(ctx context.Context, conn *grpc.ClientConn) error {
		_, err := routerv1.NewRouterServiceClient(conn).Disconnect(ctx, &routerv1.DisconnectRequest{User: "ada"})
		return err
	},
	"members": func(ctx context.Context, conn *grpc.ClientConn) error {
		_, err := adminv1.NewAdminServiceClient(conn).Members(ctx, &adminv1.MembersRequest{})
		return err
	},
	"list topics":  listing(""),
	"list rooms":   listing("room:"),
	"set sampling": settingSampling,
	"attach": func(ctx context.Context, conn *grpc.ClientConn) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		stream, err := meshv1.NewMeshServiceClient(conn).Attach(ctx)
		if err != nil {
			return err
		}
		if err := stream.Send(&meshv1.AttachRequest{Hello: &meshv1.Hello{Id: "e", Incarnation: 1}}); err != nil {
			return err
		}
		_, err = stream.Recv()
		return err
	},
	"ask a handler": func(ctx context.Context, conn *grpc.ClientConn) error {
		_, err := handlerv1.NewChannelHandlerClient(conn).Join(ctx, &handlerv1.JoinRequest{})
		return err
	},
}

func listing(prefix string) func(ctx context.Context, conn *grpc.ClientConn) error {
	return func(ctx context.Context, conn *grpc.ClientConn) error {
		_, err := adminv1.NewAdminServiceClient(conn).Topics(ctx, &adminv1.TopicsRequest{Prefix: prefix})
		return err
	}
}

func settingSampling(ctx context.Context, conn *grpc.ClientConn) error {
	_, err := adminv1.NewAdminServiceClient(conn).SetSampling(ctx, &adminv1.SetSamplingRequest{Topics: "room:1"})
	return err
}

func subscribing(req *routerv1.SubscribeRequest) func(ctx context.Context, conn *grpc.ClientConn) error {
	return func(ctx context.Context, conn *grpc.ClientConn) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		stream, err := routerv1.NewRouterServiceClient(conn).Subscribe(ctx, req)
		if err != nil {
			return err
		}
		_, err = stream.Recv()
		return err
	}
}

// verdict is what the gate said: the code if it refused, else OK.
func verdict(err error) codes.Code {
	if code := status.Code(err); code == codes.Unauthenticated || code == codes.PermissionDenied {
		return code
	}
	return codes.OK
}

func TestWhoMayCallWhat(t *testing.T) {
	const ok, anonymous, denied = codes.OK, codes.Unauthenticated, codes.PermissionDenied
	callers := []string{"", "stranger", "publisher", "listener", "rooms", "operator"}
	for call, want := range map[string][]codes.Code{
		"health":                       {ok, ok, ok, ok, ok, ok},
		"publish":                      {anonymous, anonymous, ok, denied, ok, ok},
		"publish elsewhere":            {anonymous, anonymous, ok, denied, denied, ok},
		"publish stream elsewhere":     {anonymous, anonymous, ok, denied, denied, ok},
		"subscribe":                    {anonymous, anonymous, denied, ok, ok, ok},
		"subscribe to all below lobby": {anonymous, anonymous, denied, ok, denied, ok},
		"subscribe to rooms":           {anonymous, anonymous, denied, ok, ok, ok},
		"topic":                        {anonymous, anonymous, denied, ok, ok, ok},
		"disconnect a topic":           {anonymous, anonymous, denied, denied, ok, ok},
		"disconnect a user":            {anonymous, anonymous, denied, denied, denied, ok},
		"members":                      {anonymous, anonymous, denied, ok, denied, ok},
		"list topics":                  {anonymous, anonymous, denied, ok, denied, ok},
		"list rooms":                   {anonymous, anonymous, denied, ok, ok, ok},
		"set sampling":                 {anonymous, anonymous, denied, denied, denied, ok},
		"attach":                       {anonymous, anonymous, anonymous, anonymous, anonymous, anonymous},
		"ask a handler":                {anonymous, anonymous, anonymous, anonymous, anonymous, anonymous},
	} {
		t.Run(call, func(t *testing.T) {
			d := &doors{}
			inSecureFleet(t, 2, d.secure(true), func(t *testing.T, f *fleet) {
				for i, caller := range callers {
					err := tries[call](d.as(t, caller), d.outsider(t, f, f.nodes[0]))
					if verdict(err) != want[i] {
						t.Errorf("caller %q: %v, want %v", caller, err, want[i])
					}
				}
				if err := tries[call](t.Context(), f.nodes[0].conn); verdict(err) != ok {
					t.Errorf("a certificate: %v", err)
				}
			})
		})
	}
}

func TestRefusedCallsAreLoggedWithoutTheKey(t *testing.T) {
	d := &doors{}
	inSecureFleet(t, 1, d.secure(true), func(t *testing.T, f *fleet) {
		conn := d.outsider(t, f, f.nodes[0])
		for range 5 {
			_ = tries["members"](d.as(t, "publisher"), conn)
			_ = tries["members"](d.as(t, "stranger"), conn)
		}
		text := d.log.String()
		if strings.Count(text, "call refused") != 2 || !strings.Contains(text, `caller="key publisher"`) || strings.Contains(text, d.keys["publisher"]) {
			t.Errorf("log is %q", text)
		}
		err := tries["members"](d.as(t, "publisher"), conn)
		if want := "API key publisher lacks the scope inspect"; status.Convert(err).Message() != want {
			t.Errorf("got %v, want %q", err, want)
		}
	})
}

// Without TLS there are no certificates: services reach each other freely, and a
// router asks another one in the name of its caller.
func TestAPIKeysWithoutTLS(t *testing.T) {
	d := &doors{}
	inSecureFleet(t, 2, d.secure(false), func(t *testing.T, f *fleet) {
		conn := d.outsider(t, f, f.nodes[0])
		for call, want := range map[string]codes.Code{
			"attach": codes.OK, "topic": codes.OK, "subscribe": codes.OK, "publish": codes.PermissionDenied,
		} {
			if err := tries[call](d.as(t, "listener"), conn); verdict(err) != want {
				t.Errorf("%s: %v, want %v", call, err, want)
			}
		}
		if err := tries["topic"](t.Context(), conn); verdict(err) != codes.Unauthenticated {
			t.Errorf("without a key: %v", err)
		}
	})
}
