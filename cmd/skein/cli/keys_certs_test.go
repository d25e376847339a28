package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/skein-mesh/skein/pkg/rpc"
	"github.com/skein-mesh/skein/pkg/tlsfiles"
)

// What the command makes is what a router and the command line itself take.
func TestKeysCertsProtectAFleet(t *testing.T) {
	dir, private := t.TempDir(), t.TempDir()
	certs := func(args ...string) string {
		t.Helper()
		got := skein(t, nil, "", append([]string{"keys", "certs", "--dir", dir, "--authority", private, "--san", "skein.internal"}, args...)...)
		if got.code != 0 {
			t.Fatalf("exit code %d: %s", got.code, got.stderr)
		}
		return got.stdout
	}
	replace := []string{dir, "certs", private, "private", `\d{4}-\d\d-\d\d(T[\d:]+Z)?`, "DATE", ` {2,}`, "  "}
	compare(t, "keys-certs-made.txt", certs("router-1", "operator"), replace...)
	compare(t, "keys-certs-kept.txt", certs("router-1", "operator", "--san", "10.0.0.1,skein.internal"), replace...)
	compare(t, "keys-certs.json", certs("router-1", "edge-1", "--for", "12h", "--san", "10.0.0.1", "-o", "json"), replace...)
	if _, err := os.Stat(filepath.Join(dir, "ca.key")); err == nil {
		t.Error("the authority's key is beside the certificates")
	}

	file := func(name string) string { return filepath.Join(dir, name) }
	router := serveSecurely(t, rpc.SecuritySettings{TLS: tlsfiles.TLS{Cert: file("router-1.crt"), Key: file("router-1.key"), CA: file("ca.crt")}})
	env := map[string]string{
		"SKEIN_ROUTER": router, "SKEIN_TLS_CERT": file("operator.crt"), "SKEIN_TLS_KEY": file("operator.key"),
		"SKEIN_TLS_CA": file("ca.crt"), "SKEIN_TLS_SERVER_NAME": "skein.internal",
	}
	if got := skein(t, env, "", "publish", "room:1", "e", "{}"); got.code != 0 {
		t.Errorf("exit code %d: %s", got.code, got.stderr)
	}
	env["SKEIN_TLS_SERVER_NAME"] = "elsewhere"
	if got := skein(t, env, "", "publish", "room:1", "e", "{}"); got.code != 1 || !strings.Contains(got.stderr, "elsewhere") {
		t.Errorf("exit code %d: %s", got.code, got.stderr)
	}
}

func TestKeysCertsRefuses(t *testing.T) {
	dir := t.TempDir()
	for name, test := range map[string]struct {
		args []string
		code int
		want string
	}{
		"no name":         {nil, 2, "NAME"},
		"a path":          {[]string{"../x"}, 2, "../x"},
		"the authority's": {[]string{"ca"}, 2, "ca is taken"},
		"no time":         {[]string{"x", "--for", "soon"}, 2, "90d"},
		"too short":       {[]string{"x", "--for", "1s"}, 2, "90d"},
		"too long":        {[]string{"x", "--for", "4000d"}, 2, "3650d"},
		"no host":         {[]string{"x", "--san", "https://x"}, 2, "https://x"},
		"no folder":       {[]string{"x", "--dir", filepath.Join(dir, "none")}, 1, "none"},
	} {
		t.Run(name, func(t *testing.T) {
			got := skein(t, nil, "", append([]string{"keys", "certs", "--dir", dir}, test.args...)...)
			if got.code != test.code || !strings.Contains(got.stderr, test.want) {
				t.Errorf("exit code %d: %s", got.code, got.stderr)
			}
		})
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) > 0 {
		t.Errorf("%v, %v", files, err)
	}
}
