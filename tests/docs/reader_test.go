//go:build e2e

package docs

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/skein-mesh/skein/tests/process"
)

// reader does what pages say, block after block.
type reader struct {
	t      *testing.T
	dir    string   // stands for the root of the repository
	env    []string // of all commands
	blocks []block  // still to be pasted

	waiting map[string]*process.Process // endless commands, by how they begin
}

// newReader returns a reader of some blocks in a folder that looks like the root
// of the repository, and in which commands may write.
func newReader(t *testing.T, blocks []block) *reader {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "skein")
	mirror(t, dir)
	programs := filepath.Dir(process.Built(t, "skein"))
	standIns := filepath.Join(process.Root(), "tests/docs/testdata/bin")
	return &reader{
		t: t, dir: dir, blocks: blocks, waiting: map[string]*process.Process{},
		env: []string{
			"ROOT=" + process.Root(), "SKEIN_BIN=" + programs,
			"PATH=" + strings.Join([]string{standIns, programs, os.Getenv("PATH"), "/usr/sbin"}, ":"),
		},
	}
}

// mirror makes a folder with what commands find in the root of the repository.
func mirror(t *testing.T, dir string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(dir, "docs", "images"), 0o700); err != nil {
		t.Fatal(err)
	}
	link := func(from, to string) {
		if err := os.Symlink(from, filepath.Join(dir, to)); err != nil {
			t.Fatal(err)
		}
	}
	link(filepath.Dir(process.Built(t, "skein")), "bin")
	for _, name := range []string{"client", "cmd", "deploy", "examples", "pkg", "proto", "services", "tests", "web"} {
		link(filepath.Join(process.Root(), name), name)
	}
}

// next pastes the next block into a terminal and returns what it wrote. What
// waits for ctrl-C gets a terminal of its own, and goes on.
func (r *reader) next(c *terminal) string {
	r.t.Helper()
	if len(r.blocks) == 0 {
		r.t.Fatal("all blocks are pasted")
	}
	b := r.blocks[0]
	r.blocks = r.blocks[1:]
	r.t.Logf("%s", b)
	written := ""
	for _, command := range commands(b.text) {
		if sign, waits := sign(command); waits {
			r.wait(c, command, sign)
			continue
		}
		written += c.paste(r.t, command)
	}
	return written
}

// wait starts an endless command where a terminal is, and waits until it works.
func (r *reader) wait(c *terminal, command, sign string) {
	r.t.Helper()
	dir := strings.TrimSpace(c.paste(r.t, "pwd\n"))
	p := r.process(strings.TrimSpace(command), "bash", "-c", "exec "+command).In(dir)
	p.Launch(r.t)
	r.waiting[command] = p
	process.Eventually(r.t, patience, command+" says "+sign, func() bool {
		p.Alive(r.t)
		return strings.Contains(p.Output.String(), sign)
	})
}

// hears waits until the endless command that begins so has written something.
func (r *reader) hears(begin, text string) {
	r.t.Helper()
	p := r.started(begin)
	process.Eventually(r.t, patience, begin+" writes "+text, func() bool {
		p.Alive(r.t)
		return strings.Contains(p.Output.String(), text)
	})
}

// interrupt presses ctrl-C where the command that begins so runs.
func (r *reader) interrupt(begin string) {
	r.t.Helper()
	r.started(begin).Signal(r.t, syscall.SIGINT)
}

func (r *reader) started(begin string) *process.Process {
	r.t.Helper()
	for command, p := range r.waiting {
		if strings.HasPrefix(command, begin) {
			return p
		}
	}
	r.t.Fatalf("nothing that begins with %q was started", begin)
	return nil
}

// until repeats a command until it writes all texts.
func (r *reader) until(c *terminal, command string, texts ...string) {
	r.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		written := c.paste(r.t, command+" || true\n")
		if contains(written, texts...) {
			return
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("%s does not write %q:\n%s", command, texts, written)
		}
	}
}
