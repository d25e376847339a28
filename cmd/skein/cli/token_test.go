package cli

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/skein-mesh/skein/pkg/bubble"
)

// keyFile makes a file with a secret.
func keyFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret.key")
	if err := os.WriteFile(path, []byte(strings.Repeat("not a secret, ", 3)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// made is the token that token make prints.
func made(t *testing.T, args ...string) string {
	t.Helper()
	got := skein(t, nil, "", append([]string{"token", "make"}, args...)...)
	if got.code != 0 {
		t.Fatalf("exit %d\n%s", got.code, got.stderr)
	}
	return strings.TrimSpace(got.stdout)
}

// The bubble's clock begins with the year 2000, so that tokens and what is said
// of their times are the same in every run.
func TestTokenMakeAndExplain(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		key := keyFile(t)
		token := made(t, "--key", key, "--sub", "ada", "--topics", "room:*,lobby", "--push", "room:1", "--ttl", "90m", "--iss", "us", "--aud", "chat",
			"--kid", "k1", "--claim", "role=admin", "--claim", `teams=[1, "a"]`)
		compare(t, "token.txt", token+"\n")
		compare(t, "token-explain.txt", skein(t, nil, "", "token", "explain", token).stdout)
		time.Sleep(30 * time.Minute) // virtual time
		verified := skein(t, nil, token+"\n", "token", "explain", "-", "--key", key, "--aud", "chat")
		if verified.code != 0 {
			t.Errorf("exit %d\n%s", verified.code, verified.stderr)
		}
		compare(t, "token-verified.txt", verified.stdout)
		compare(t, "token.json", skein(t, nil, "", "token", "explain", token, "--key", key, "-o", "json").stdout)
		time.Sleep(2 * time.Hour) // virtual time
		expired := skein(t, nil, "", "token", "explain", token, "--key", key)
		if expired.code != 1 || !strings.HasSuffix(expired.stderr, "skein: the token is no good\n") {
			t.Errorf("exit %d\n%s", expired.code, expired.stderr)
		}
		compare(t, "token-expired.txt", expired.stdout)
		compare(t, "token-made.json", skein(t, nil, "", "token", "make", "--key", key, "--ttl=-1h", "--topics=", "-o", "json").stdout)
	})
}

func TestTokenExplainsWhatNoEdgeTakes(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		part := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
		token := part(`{"alg":"none","kid":"\u001b[31m"}`) + "." + part(`{"exp":1700000000000,"z":{"b": 1},"sub":"a\u0007b"}`) + "."
		compare(t, "token-bad.txt", skein(t, nil, "", "token", "explain", token).stdout)
		got := skein(t, nil, "", "token", "explain", token, "--key", keyFile(t))
		if got.code != 1 || !strings.Contains(got.stdout, "Verified   no: token invalid: token signature is invalid: signing method none is invalid") {
			t.Errorf("exit %d\n%s", got.code, got.stdout)
		}
		compare(t, "token-open.txt", skein(t, nil, "", "token", "explain", part(`{}`)+"."+part(`{}`)+".").stdout)
	})
}

func TestTokenKeys(t *testing.T) {
	for _, algorithm := range []string{"HS256", "RS256", "ES256", "EdDSA"} {
		path := filepath.Join(t.TempDir(), "k.pem")
		got := skein(t, nil, "", "token", "key", "--alg", algorithm, "--out", path)
		if got.code != 0 {
			t.Errorf("%s: exit %d\n%s", algorithm, got.code, got.stderr)
		}
		compare(t, "token-key-"+algorithm+".txt", strings.ReplaceAll(got.stdout, path, "FILE"))
		if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
			t.Errorf("%s: %v, %v", algorithm, info, err)
		}
		check := path + ".pub"
		if algorithm == "HS256" {
			check = path
		}
		token := made(t, "--key", path, "--alg", algorithm)
		if got := skein(t, nil, "", "token", "explain", token, "--key", check); got.code != 0 {
			t.Errorf("%s: exit %d\n%s", algorithm, got.code, got.stdout)
		}
		if got := skein(t, nil, "", "token", "key", "--alg", algorithm, "--out", path); got.code != 1 || !strings.Contains(got.stderr, "file exists") {
			t.Errorf("%s: exit %d\n%s", algorithm, got.code, got.stderr)
		}
	}
}

// When the public half cannot be written, the private one is not left behind.
func TestTokenKeyWritesBothHalvesOrNone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "k.pem")
	if err := os.WriteFile(path+".pub", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := skein(t, nil, "", "token", "key", "--alg", "ES256", "--out", path); got.code != 1 {
		t.Errorf("exit %d", got.code)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the private key is there: %v", err)
	}
	path = filepath.Join(t.TempDir(), "s.key")
	var got map[string]string
	if err := json.Unmarshal([]byte(skein(t, nil, "", "token", "key", "--out", path, "-o", "json").stdout), &got); err != nil || got["private"] != path || got["alg"] != "HS256" {
		t.Errorf("%v, %v", got, err)
	}
}

func TestTokenExplainWithAJWKS(t *testing.T) {
	key := keyFile(t)
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	got := skein(t, nil, "", "token", "explain", made(t, "--key", key), "--jwks", server.URL)
	if got.code != 1 || got.stdout != "" || !strings.Contains(got.stderr, "read the keys: fetch "+server.URL+": answered 404") {
		t.Errorf("exit %d\n%s%s", got.code, got.stderr, got.stdout)
	}
}

func TestTokenUsage(t *testing.T) {
	key := keyFile(t)
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"mak"}, 2, `unknown command "mak" (did you mean make?)`},
		{[]string{"make"}, 2, "missing flag: --key FILE"},
		{[]string{"make", "--key", key, "--claim", "x"}, 2, `--claim: "x" is not NAME=VALUE`},
		{[]string{"make", "--key", key, "--claim", "exp=soon"}, 2, "token invalid: claims: "},
		{[]string{"make", "--key", "/nowhere"}, 1, "read the key: open /nowhere"},
		{[]string{"make", "--key", key, "--alg", "ES256"}, 1, `no key signs with "ES256": it signs with HS256, HS384, HS512`},
		{[]string{"explain"}, 2, "missing argument: TOKEN"},
		{[]string{"explain", "x"}, 1, "not a token: a token has three parts"},
		{[]string{"explain", "x", "--jwks", "x"}, 2, `token-jwks: "x" is no URL`},
		{[]string{"explain", made(t, "--key", key), "--key", "/nowhere"}, 1, "read the keys: open /nowhere"},
		{[]string{"key"}, 2, "missing flag: --out FILE"},
		{[]string{"key", "--alg", "none", "--out", key}, 2, `--alg: algorithm "none" is none of`},
	} {
		got := skein(t, nil, "", append([]string{"token"}, c.args...)...)
		if got.code != c.code || !strings.Contains(got.stderr, c.want) || got.stdout != "" {
			t.Errorf("%q: exit %d, want %d with %q, got\n%s%s", c.args, got.code, c.code, c.want, got.stderr, got.stdout)
		}
	}
	for _, args := range [][]string{{"token"}, {"token", "make", "--help"}} {
		if got := skein(t, nil, "", args...); got.code != 0 || !strings.Contains(got.stdout, "token") {
			t.Errorf("%q: exit %d", args, got.code)
		}
	}
}
