package namespace_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/skein-mesh/skein/pkg/conf"
	"github.com/skein-mesh/skein/pkg/namespace"
)

// service is the configuration of some service that has namespaces.
type service struct {
	Listen string `conf:"listen" usage:"address"`
	namespace.Settings
}

// Validate implements [conf.Config].
func (s *service) Validate() error { return s.Settings.Validate() }

func load(t *testing.T, file string, args ...string) (*service, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "skein.yaml")
	if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &service{Settings: namespace.DefaultSettings()}
	return s, conf.Load(s, conf.Source{
		Name: "skein-test", Args: append(args, "--config", path), Getenv: func(string) string { return "" }, Stderr: io.Discard,
	})
}

func TestNamespacesOfAFile(t *testing.T) {
	got, err := load(t, `
connect_handler: dns:///chat:50051
namespaces:
  - topics: "room:*"
    join: handler
    push: handler
    handler: "127.0.0.1:50051"
    timeout: 2s
    presence: {key: claims.sub, meta: [name, meta.*], max_listed: 7}
  - topics: "*"
    push: deny
`)
	if err != nil {
		t.Fatal(err)
	}
	want := namespace.Settings{
		ConnectHandler: "dns:///chat:50051", ConnectTimeout: namespace.DefaultTimeout,
		Namespaces: []namespace.Namespace{
			{
				Topics: "room:*", Join: namespace.JoinHandler, Push: namespace.PushHandler, Handler: "127.0.0.1:50051",
				Timeout: 2 * time.Second, Presence: namespace.Presence{Key: "claims.sub", Meta: []string{"name", "meta.*"}, MaxListed: 7},
			},
			{
				Topics: "*", Join: namespace.JoinOpen, Push: namespace.PushDeny, Timeout: namespace.DefaultTimeout,
				Presence: namespace.Presence{MaxListed: namespace.DefaultMaxListed},
			},
		},
	}
	if !reflect.DeepEqual(got.Settings, want) {
		t.Errorf("got %+v\nwant %+v", got.Settings, want)
	}
	again, err := load(t, conf.YAML(got))
	if err != nil || again.Namespaces[0].Presence.Key != "claims.sub" || again.ConnectHandler != want.ConnectHandler {
		t.Errorf("read back: %+v, %v", again, err)
	}
	flagged, err := load(t, "", `--namespaces=[{topics: "room:*", join: handler, handler: "127.0.0.1:50051"}]`)
	if err != nil || len(flagged.Namespaces) != 1 || flagged.Namespaces[0].Join != namespace.JoinHandler {
		t.Errorf("flag: %+v, %v", flagged, err)
	}
}

func TestEveryProblemOfSettings(t *testing.T) {
	_, err := load(t, `
connect_handler: http://chat
connect_timeout: 0s
namespaces:
  - {topics: "room:*", join: handler, handler: chat}
  - {topics: "room:*", join: some, push: "no"}
  - {topics: "a*b", handler: "chat :1"}
  - {join: token}
`)
	var bad *conf.Error
	if !errors.As(err, &bad) {
		t.Fatal(err)
	}
	const like = ": want host:port or a gRPC target such as dns:///chat:50051"
	want := []string{
		`namespace "room:*": handler: "chat" has no port` + like,
		`namespace "room:*": join: "some" is none of open, token and handler`,
		`namespace "room:*": push: "no" is none of relay, relay_from, deny and handler`,
		`namespaces: "room:*" is given twice`,
		`namespace "a*b": topics: * may only stand at the end`,
		`namespace "a*b": handler: nothing asks it: set join or push to handler`,
		`namespace "a*b": handler: "chat :1" has a space` + like,
		`namespace "": topics: an exact name, a prefix such as room:*, or * is required`,
		`connect-handler: "http://chat" is a URL of the web` + like,
		`connect-timeout: must be positive, got 0s`,
	}
	if !slices.Equal(bad.Problems, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(bad.Problems, "\n"), strings.Join(want, "\n"))
	}
}

func TestDefaultSettingsAreValid(t *testing.T) {
	if err := namespace.DefaultSettings().Validate(); err != nil {
		t.Error(err)
	}
}
