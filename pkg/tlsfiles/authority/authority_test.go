package authority_test

import (
	"bytes"
	"context"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/credentials"

	"github.com/skein-mesh/skein/pkg/tlsfiles"
	"github.com/skein-mesh/skein/pkg/tlsfiles/authority"
)

const month = 30 * 24 * time.Hour

func open(t *testing.T, dir string, now time.Time) *authority.Authority {
	t.Helper()
	a, _, err := authority.Open(dir, now)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func read(t *testing.T, path ...string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func write(t *testing.T, text []byte, path ...string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(path...), text, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestAuthorityIsMadeOnce(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	for i, want := range []authority.Did{authority.Made, authority.Kept} {
		a, did, err := authority.Open(dir, now)
		if err != nil || did != want {
			t.Fatalf("run %d: %s, %v", i, did, err)
		}
		if !bytes.Equal(a.PEM(), read(t, dir, "ca.crt")) || !a.Until().After(now.Add(authority.Lifetime-time.Minute)) {
			t.Errorf("run %d: it is another one, or ends on %s", i, a.Until())
		}
	}
	for name, want := range map[string]fs.FileMode{"ca.crt": 0o644, "ca.key": 0o600} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
}

// What an authority could lose is never overwritten.
func TestFoldersThatAreNotAnAuthoritys(t *testing.T) {
	now := time.Now()
	for name, test := range map[string]struct {
		spoil func(t *testing.T, dir string)
		later time.Duration
		want  string // part of the error
	}{
		"no key":         {func(t *testing.T, dir string) { remove(t, dir, "ca.key") }, 0, "put the other one back"},
		"no certificate": {func(t *testing.T, dir string) { remove(t, dir, "ca.crt") }, 0, "put the other one back"},
		"another's key":  {func(t *testing.T, dir string) { write(t, read(t, dir, "edge.key"), dir, "ca.key") }, 0, "private key does not match"},
		"a leaf": {func(t *testing.T, dir string) {
			write(t, read(t, dir, "edge.key"), dir, "ca.key")
			write(t, read(t, dir, "edge.crt"), dir, "ca.crt")
		}, 0, "not the certificate of an authority"},
		"one that ended": {func(*testing.T, string) {}, authority.Lifetime + time.Hour, "a new one is made"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if _, err := open(t, dir, now).Keep(dir, authority.Wanted{Name: "edge", For: month}, now); err != nil {
				t.Fatal(err)
			}
			test.spoil(t, dir)
			before := os.DirFS(dir)
			cert, _ := fs.ReadFile(before, "ca.crt")
			key, _ := fs.ReadFile(before, "ca.key")
			if _, _, err := authority.Open(dir, now.Add(test.later)); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
			certAfter, _ := fs.ReadFile(before, "ca.crt")
			keyAfter, _ := fs.ReadFile(before, "ca.key")
			if !bytes.Equal(cert, certAfter) || !bytes.Equal(key, keyAfter) {
				t.Error("its files changed")
			}
		})
	}
	if _, _, err := authority.Open(filepath.Join(t.TempDir(), "none"), now); err == nil {
		t.Error("made a folder")
	}
}

func remove(t *testing.T, path ...string) {
	t.Helper()
	if err := os.Remove(filepath.Join(path...)); err != nil {
		t.Fatal(err)
	}
}

func TestCertificatesAreRenewedWhenTheyMustBe(t *testing.T) {
	now := time.Now()
	usual := authority.Wanted{Name: "edge", Hosts: []string{"edge", "10.0.0.1", "::0001"}, For: month}
	other := usual
	other.Hosts = []string{"edge"}
	long := usual
	long.For = authority.Lifetime * 2
	for name, test := range map[string]struct {
		spoil  func(t *testing.T, dir string)
		wanted authority.Wanted
		later  time.Duration
		did    authority.Did
		why    string
	}{
		"nothing changed":   {nil, usual, month/2 + time.Hour, authority.Kept, ""},
		"near its end":      {nil, usual, month*2/3 + time.Hour, authority.Renewed, "near its end"},
		"after its end":     {nil, usual, 2 * month, authority.Renewed, "near its end"},
		"wanted for longer": {nil, long, 0, authority.Renewed, "near its end"},
		"other hosts":       {nil, other, 0, authority.Renewed, "it was for other hosts"},
		"another authority": {func(t *testing.T, dir string) {
			remove(t, dir, "ca.crt")
			remove(t, dir, "ca.key")
		}, usual, 0, authority.Renewed, "another authority signed it"},
		"another's key": {func(t *testing.T, dir string) { write(t, read(t, dir, "ca.key"), dir, "edge.key") }, usual, 0, authority.Renewed, "tls: private key does not match public key"},
		"no key":        {func(t *testing.T, dir string) { remove(t, dir, "edge.key") }, usual, 0, authority.Made, ""},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			a := open(t, dir, now)
			if state, err := a.Keep(dir, usual, now); err != nil || state.Did != authority.Made {
				t.Fatalf("%+v, %v", state, err)
			}
			before := read(t, dir, "edge.crt")
			if test.spoil != nil {
				test.spoil(t, dir)
			}
			a = open(t, dir, now)
			state, err := a.Keep(dir, test.wanted, now.Add(test.later))
			if err != nil || state.Did != test.did || state.Why != test.why {
				t.Errorf("%+v, %v", state, err)
			}
			if kept := bytes.Equal(before, read(t, dir, "edge.crt")); kept != (test.did == authority.Kept) {
				t.Errorf("the file was kept: %v", kept)
			}
			if state.Until.After(a.Until()) {
				t.Errorf("good until %s, which is after its authority's end", state.Until)
			}
		})
	}
}

func TestTrustKeepsOtherAuthorities(t *testing.T) {
	now, dir := time.Now(), t.TempDir()
	first, second := open(t, t.TempDir(), now), open(t, t.TempDir(), now)
	write(t, bytes.TrimSpace(first.PEM()), dir, "ca.crt")
	for range 2 {
		if err := second.Trust(dir); err != nil {
			t.Fatal(err)
		}
	}
	if want := string(first.PEM()) + string(second.PEM()); string(read(t, dir, "ca.crt")) != want {
		t.Errorf("got\n%s", read(t, dir, "ca.crt"))
	}
}

func TestNames(t *testing.T) {
	for name, want := range map[string]bool{
		"router-1": true, "10.0.0.1": true, "a.example.com": true,
		"": false, "ca": false, "../x": false, ".x": false, "-x": false, "a b": false, strings.Repeat("x", 64): false,
	} {
		if authority.ValidName(name) != want {
			t.Errorf("%q", name)
		}
	}
}

// Certificates of a folder are what services read, and good on both sides.
func TestServicesTakeTheCertificates(t *testing.T) {
	now, private, dir := time.Now(), t.TempDir(), t.TempDir()
	a := open(t, private, now)
	if err := a.Trust(dir); err != nil {
		t.Fatal(err)
	}
	files := map[string]*tlsfiles.Files{}
	for _, name := range []string{"router", "edge"} {
		if _, err := a.Keep(dir, authority.Wanted{Name: name, Hosts: []string{name, "skein.internal"}, For: month}, now); err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(filepath.Join(dir, name+".key")); err != nil || info.Mode() != 0o600 {
			t.Errorf("others may read the key: %v, %v", info.Mode(), err)
		}
		loaded, err := tlsfiles.Load(tlsfiles.TLS{
			Cert: filepath.Join(dir, name+".crt"), Key: filepath.Join(dir, name+".key"),
			CA: filepath.Join(dir, "ca.crt"), Name: "skein.internal",
		}, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		files[name] = loaded
	}
	client, server := net.Pipe()
	defer client.Close()
	seen, refused := make(chan credentials.AuthInfo, 1), make(chan error, 1)
	go func() {
		defer server.Close()
		_, info, err := files["router"].ServerCredentials(true, nil).ServerHandshake(server)
		seen <- info
		refused <- err
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, _, err := files["edge"].ClientCredentials(nil).ClientHandshake(ctx, "10.0.0.1", client); err != nil {
		t.Fatalf("client: %v", err)
	}
	info, ok := (<-seen).(credentials.TLSInfo)
	if err := <-refused; err != nil || !ok || len(info.State.VerifiedChains) == 0 || info.State.VerifiedChains[0][0].Subject.CommonName != "edge" {
		t.Errorf("the server saw %+v, %v", info.State.VerifiedChains, err)
	}
}
