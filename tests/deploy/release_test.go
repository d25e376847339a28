//go:build e2e

package deploy

import (
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// release makes a release of one system in a new folder.
func release(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "dist")
	cmd := exec.CommandContext(t.Context(), filepath.Join(root, ".ci/release"), dir, "linux/amd64")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return dir
}

// TestReleaseIsReproducible makes a release twice, in different folders.
func TestReleaseIsReproducible(t *testing.T) {
	first, second := release(t), release(t)
	sums := read(t, filepath.Join(first, "SHA256SUMS"))
	if again := read(t, filepath.Join(second, "SHA256SUMS")); again != sums {
		t.Errorf("got\n%s, then\n%s", sums, again)
	}
	lines := strings.Split(strings.TrimSpace(sums), "\n")
	if len(lines) != 2 {
		t.Errorf("want an archive and a Debian package: %q", lines)
	}
	for _, line := range lines {
		sum, name, _ := strings.Cut(line, "  ")
		text := sha256.Sum256([]byte(read(t, filepath.Join(first, name))))
		if hex.EncodeToString(text[:]) != sum {
			t.Errorf("%s has another sum", name)
		}
	}
	installed(t, first)
}

// installed takes the Debian package of a release through its life, in a system
// of its own that has nothing else.
func installed(t *testing.T, dist string) {
	t.Helper()
	debs, err := filepath.Glob(filepath.Join(dist, "*.deb"))
	if err != nil || len(debs) != 1 {
		t.Fatalf("%q, %v", debs, err)
	}
	system := newSystem(t)
	system.dpkg("--install", debs[0])
	complete(t, system.dir)
	settings, state := system.path("etc/skein/router.env"), system.path("var/lib/private/skein-router")
	if err := os.WriteFile(settings, []byte("SKEIN_GRPC=127.0.0.1:5005\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(state, 0o700); err != nil {
		t.Fatal(err)
	}
	system.dpkg("--install", debs[0]) // as an upgrade
	system.dpkg("--remove", "skein")
	if text := read(t, settings); !strings.Contains(text, "5005") || gone(state) {
		t.Errorf("settings or state were lost: %q", text)
	}
	system.dpkg("--purge", "skein")
	if !gone(settings) || !gone(state) || !gone(system.path("usr/bin/skein")) {
		t.Error("a purge leaves something behind")
	}
}

// system is a folder that dpkg takes for the root of a system.
type system struct {
	t   *testing.T
	dir string
}

func newSystem(t *testing.T) system {
	t.Helper()
	s := system{t, t.TempDir()}
	for _, folder := range []string{"var/lib/dpkg/info", "var/lib/dpkg/updates", "etc"} {
		if err := os.MkdirAll(s.path(folder), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(s.path("var/lib/dpkg/status"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s system) path(name string) string { return filepath.Join(s.dir, name) }

// dpkg runs it, and the package's scripts with $DPKG_ROOT: there is no shell in
// the system to run them with.
func (s system) dpkg(args ...string) {
	s.t.Helper()
	args = append([]string{"--root=" + s.dir, "--log=/dev/null", "--force-script-chrootless,not-root,architecture,confold,unsafe-io"}, args...)
	if out, err := exec.CommandContext(s.t.Context(), "dpkg", args...).CombinedOutput(); err != nil {
		s.t.Fatalf("%v\n%s", err, out)
	}
}

func gone(path string) bool {
	_, err := os.Stat(path)
	return os.IsNotExist(err)
}

// complete looks at what was installed into a folder.
func complete(t *testing.T, into string) {
	t.Helper()
	if groups := read(t, filepath.Join(into, "etc/group")); !strings.Contains(groups, "skein:") {
		t.Errorf("there is no group to read certificates: %q", groups)
	}
	for _, program := range []string{"skein", "skein-edge", "skein-router", "skein-presence"} {
		f, err := elf.Open(filepath.Join(into, "usr/bin", program))
		if err != nil {
			t.Fatal(err)
		}
		if libraries, err := f.ImportedLibraries(); err != nil || len(libraries) > 0 {
			t.Errorf("%s is not static: %q, %v", program, libraries, err)
		}
		_ = f.Close() // only read
	}
	for _, service := range services {
		unit := read(t, filepath.Join(into, "usr/lib/systemd/system/skein-"+service+".service"))
		if program := "/usr/bin/skein-" + service; !strings.Contains(unit, "ExecStart="+program+"\n") {
			t.Errorf("the unit of %s does not start %s", service, program)
		}
		if info, err := os.Stat(filepath.Join(into, "etc/skein", service+".env")); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("settings of %s: %v, %v", service, info, err)
		}
	}
}

var (
	services = []string{"edge", "router", "presence"}
	exposure = regexp.MustCompile(`Overall exposure level for \S+: ([0-9.]+)`)
)

// TestUnitsAreHardened asks systemd itself, which needs not to run for that.
func TestUnitsAreHardened(t *testing.T) {
	for _, service := range services {
		unit := filepath.Join(root, "deploy/systemd/skein-"+service+".service")
		out, err := exec.CommandContext(t.Context(), "systemd-analyze", "security", "--offline=yes", "--threshold=20", unit).CombinedOutput()
		if err != nil || !exposure.Match(out) {
			t.Errorf("%s: exposed more than 2.0 of 10, or not analysed: %v\n%s", unit, err, out)
		}
		out, _ = exec.CommandContext(t.Context(), "systemd-analyze", "verify", "--man=no", unit).CombinedOutput()
		for line := range strings.Lines(string(out)) {
			// The programs are not installed where the tests run.
			if own := "skein-" + service; strings.Contains(line, own) && !strings.Contains(line, fmt.Sprintf("/usr/bin/%s is not executable", own)) {
				t.Errorf("%s: %s", unit, line)
			}
		}
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
