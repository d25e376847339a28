package cli

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/skein-mesh/skein/pkg/apikey"
	"github.com/skein-mesh/skein/pkg/conf"
	adminv1 "github.com/skein-mesh/skein/proto/gen/skein/admin/v1"
	"github.com/skein-mesh/skein/services/router"
)

type fakeKeys struct {
	adminv1.UnimplementedKeyServiceServer

	rotation *adminv1.RotateGossipKeysResponse // nil for an error
}

func (f fakeKeys) ListGossipKeys(context.Context, *adminv1.ListGossipKeysRequest) (*adminv1.ListGossipKeysResponse, error) {
	return &adminv1.ListGossipKeysResponse{Members: f.rotation.GetMembers()}, nil
}

func (f fakeKeys) RotateGossipKeys(context.Context, *adminv1.RotateGossipKeysRequest) (*adminv1.RotateGossipKeysResponse, error) {
	if f.rotation == nil {
		return nil, status.Error(codes.Unavailable, "gossip does not run yet")
	}
	return f.rotation, nil
}

func TestGossipKeys(t *testing.T) {
	whole := []*adminv1.MemberKeys{{Member: "router-1", Keys: []string{"0123456789abcdef"}}, {Member: "router-2", Keys: []string{"0123456789abcdef"}}}
	half := []*adminv1.MemberKeys{
		{Member: "router-1", Keys: []string{"fedcba9876543210", "0123456789abcdef"}},
		{Member: "router-2\x1b", Problem: "it did not answer"},
	}
	for name, test := range map[string]struct {
		fake fakeKeys
		code int
		want string // part of stderr
	}{
		"rotated": {fakeKeys{rotation: &adminv1.RotateGossipKeysResponse{Key: "0123456789abcdef", Members: whole}}, 0, ""},
		"stopped": {fakeKeys{rotation: &adminv1.RotateGossipKeysResponse{Key: "0123456789abcdef", Stopped: "install", Members: half}}, 1, "step install"},
		"failed":  {fakeKeys{}, 1, "gossip does not run yet"},
	} {
		t.Run(name, func(t *testing.T) {
			env := map[string]string{"SKEIN_ROUTER": serve(t, func(s *grpc.Server) { adminv1.RegisterKeyServiceServer(s, test.fake) })}
			got := skein(t, env, "", "keys", "rotate")
			if got.code != test.code || !strings.Contains(got.stderr, test.want) {
				t.Errorf("exit code %d, %s", got.code, got.stderr)
			}
			if test.fake.rotation != nil {
				compare(t, "keys-"+name+".txt", got.stdout)
			}
			if name == "stopped" {
				compare(t, "keys-list.txt", skein(t, env, "", "keys", "list").stdout)
				compare(t, "keys-list.json", skein(t, env, "", "keys", "list", "-o", "json").stdout)
				compare(t, "keys-stopped.json", skein(t, env, "", "keys", "rotate", "-o", "json").stdout)
			}
		})
	}
}

func TestKeysGenerate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "gossip.key")
	if got := skein(t, nil, "", "keys", "generate", "--out", path); got.code != 0 || !strings.Contains(got.stdout, path) {
		t.Errorf("exit code %d: %s%s", got.code, got.stdout, got.stderr)
	}
	first, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("others may read it: %v, %v", info.Mode(), err)
	}
	if got := skein(t, nil, "", "keys", "generate", "--out", path); got.code != 1 {
		t.Errorf("overwrote a key, exit code %d", got.code)
	}
	if second := skein(t, nil, "", "keys", "generate").stdout; second == string(first) || len(second) != len(first) {
		t.Errorf("%q and %q", first, second)
	}
}

// What is printed for a configuration is one, and the key belongs to it.
func TestAPIKeyAsPrinted(t *testing.T) {
	got := skein(t, nil, "", "keys", "api", "chat", "--scopes", "publish,inspect", "--topics", "room:*")
	before, after, found := strings.Cut(got.stdout, "api_keys:")
	if got.code != 0 || !found {
		t.Fatalf("exit code %d: %s%s", got.code, got.stdout, got.stderr)
	}
	path := filepath.Join(t.TempDir(), "router.yaml")
	if err := os.WriteFile(path, []byte(strings.ReplaceAll("  api_keys:"+after, "\n  ", "\n")[2:]), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := router.Default()
	if err := conf.Load(&cfg, conf.Source{Name: "test", Args: []string{"--config", path}, Getenv: func(string) string { return "" }}); err != nil {
		t.Fatal(err)
	}
	key := ""
	for word := range strings.FieldsSeq(before) {
		if strings.HasPrefix(word, "skein_") {
			key = word
		}
	}
	keys, err := apikey.Load(cfg.List)
	if err != nil || keys.Len() != 1 || !keys.Has(key) || cfg.APIKeys[0].Topics[0] != "room:*" {
		t.Errorf("%v, %v", cfg.APIKeys, err)
	}
	if got := skein(t, nil, "", "keys", "api", "chat"); got.code != 2 || !strings.Contains(got.stderr, "scopes") {
		t.Errorf("exit code %d: %s", got.code, got.stderr)
	}
	compareMade(t)
}

func compareMade(t *testing.T) {
	t.Helper()
	made := skein(t, nil, "", "keys", "api", "chat", "--scopes", "admin", "-o", "json").stdout
	compare(t, "keys-api.json", made, `skein_[\w-]+`, "KEY", `[0-9a-f]{64}`, "HASH")
}
