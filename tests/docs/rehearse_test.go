//go:build e2e

package docs

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/skein-mesh/skein/tests/process"
)

// standIns say which script of testdata/rehearsal stands for which programs.
var standIns = map[string][]string{
	"program":   {"skein", "skein-edge", "skein-router", "skein-presence"},
	"make":      {"make"},
	"docker":    {"docker"},
	"git":       {"git"},
	"sudo":      {"sudo"},
	"sysctl":    {"sysctl"},
	"systemctl": {"systemctl"},
	"paths":     {"apt", "editor", "go", "haproxy", "install", "kubectl", "nginx", "node", "openssl"},
}

// rehearse runs a block with stand-ins instead of programs, in the folder where
// its reader is.
func rehearse(t *testing.T, b block) (output string, err error) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "skein")
	mirror(t, dir)
	replace(t, dir)
	where := dir
	if b.page != readme && filepath.Base(b.page) == readme { // it is read in its folder
		where = filepath.Join(dir, filepath.Dir(b.page))
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-e", "-o", "pipefail", "-c", b.text)
	cmd.Dir = where
	cmd.Env = []string{
		"PATH=" + filepath.Join(dir, "bin"), "REAL=" + os.Getenv("PATH"), "HOME=" + dir, "ROOT=" + process.Root(),
		"PROGRAMS=" + filepath.Dir(process.Built(t, "skein")),
	}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// replace puts stand-ins where programs and scripts of the repository are.
func replace(t *testing.T, dir string) {
	t.Helper()
	if err := os.Remove(filepath.Join(dir, "bin")); err != nil {
		t.Fatal(err)
	}
	for _, folder := range []string{"bin", ".ci"} {
		if err := os.Mkdir(filepath.Join(dir, folder), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	stand := func(name, path string) {
		from := filepath.Join(process.Root(), "tests/docs/testdata/rehearsal", name)
		if err := os.Symlink(from, filepath.Join(dir, path)); err != nil {
			t.Fatal(err)
		}
	}
	for name, programs := range standIns {
		for _, program := range programs {
			stand(name, "bin/"+program)
		}
	}
	scripts, err := os.ReadDir(filepath.Join(process.Root(), ".ci"))
	if err != nil {
		t.Fatal(err)
	}
	for _, script := range scripts {
		if !script.IsDir() && !strings.Contains(script.Name(), ".") {
			stand("paths", ".ci/"+script.Name())
		}
	}
}
