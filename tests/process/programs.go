package process

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Root is the folder of this repository, which a test's own folder is in.
func Root() string {
	dir, _ := filepath.Abs(".") // without a working folder no test runs
	for parent := filepath.Dir(dir); parent != dir; dir, parent = parent, filepath.Dir(parent) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
	}
	return dir
}

// Built is the path of a program that make build left in bin/, or in the
// folder that SKEIN_BIN names.
func Built(t *testing.T, name string) string {
	t.Helper()
	folder := os.Getenv("SKEIN_BIN")
	if folder == "" {
		folder = filepath.Join(Root(), "bin")
	}
	path, err := filepath.Abs(filepath.Join(folder, name))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil { //nolint:gosec // who runs the tests says where the programs are
		t.Fatalf("%v: run make build first", err)
	}
	return path
}

// Programs is where the programs under test are: what SKEIN_BIN names, or else
// a temporary folder into which they are built from the sources as they are
// now. Create it with [Build] in TestMain.
type Programs struct {
	dir       string
	temporary bool
}

// Build builds programs of cmd/, which is quick when nothing changed.
func Build(names ...string) (*Programs, error) {
	if dir := os.Getenv("SKEIN_BIN"); dir != "" {
		dir, err := filepath.Abs(dir)
		return &Programs{dir: dir}, err
	}
	dir, err := os.MkdirTemp("", "skein-bin-")
	if err != nil {
		return nil, err
	}
	args := []string{"build", "-o", dir}
	for _, name := range names {
		args = append(args, "./cmd/"+name)
	}
	cmd := exec.Command("go", args...) //nolint:gosec,noctx // tests say what to build; TestMain has no context
	cmd.Dir, cmd.Stdout, cmd.Stderr = Root(), os.Stderr, os.Stderr
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	programs := &Programs{dir: dir, temporary: true}
	if err := cmd.Run(); err != nil {
		programs.Remove()
		return nil, fmt.Errorf("go build: %w", err)
	}
	return programs, nil
}

// Path of a program.
func (p *Programs) Path(name string) string { return filepath.Join(p.dir, name) }

// Dir that has them.
func (p *Programs) Dir() string { return p.dir }

// Remove takes away what [Build] built.
func (p *Programs) Remove() {
	if p.temporary {
		_ = os.RemoveAll(p.dir)
	}
}
