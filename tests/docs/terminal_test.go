//go:build e2e

package docs

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/skein-mesh/skein/tests/process"
)

// patience bounds waiting for what must happen; no test expects it to run out.
const patience = time.Minute

// terminal is one shell that commands are pasted into. What it started in the
// background ends with the test.
type terminal struct {
	*process.Process
	dir    string // of the commands' files
	fifo   *os.File
	pasted int
}

// open opens a terminal in the folder where the reader is.
func (r *reader) open(name string) *terminal {
	r.t.Helper()
	dir := r.t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		r.t.Fatal(err)
	}
	file, err := os.OpenFile(fifo, os.O_RDWR, 0)
	if err != nil {
		r.t.Fatal(err)
	}
	p := r.process(name, "bash", filepath.Join(process.Root(), "tests/docs/testdata/terminal.sh"), fifo)
	p.Launch(r.t)
	r.t.Cleanup(func() { _ = file.Close() }) // the shell has a descriptor of its own
	return &terminal{Process: p, dir: dir, fifo: file}
}

// paste runs commands in the terminal and returns what they wrote. Each must
// end with status 0.
func (c *terminal) paste(t *testing.T, commands string) string {
	t.Helper()
	c.pasted++
	file := filepath.Join(c.dir, fmt.Sprintf("%d.sh", c.pasted))
	if err := os.WriteFile(file, []byte(commands), 0o600); err != nil {
		t.Fatal(err)
	}
	before := len(c.Output.String())
	if _, err := fmt.Fprintln(c.fifo, file); err != nil {
		t.Fatal(err)
	}
	end := regexp.MustCompile(`(?m)^== ` + regexp.QuoteMeta(file) + `: (\d+)$`)
	var output, status string
	process.Eventually(t, patience, "the end of: "+commands, func() bool {
		c.Alive(t)
		output = c.Output.String()[before:]
		if at := end.FindStringSubmatchIndex(output); at != nil {
			output, status = output[:at[0]], output[at[2]:at[3]]
		}
		return status != ""
	})
	if status != "0" {
		t.Fatalf("a command ended with status %s:\n%s\n%s", status, commands, output)
	}
	return output
}

// process prepares a program that runs where the reader is, and sees what a
// reader has installed.
func (r *reader) process(name, program string, args ...string) *process.Process {
	r.t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		r.t.Fatalf("%v: run .ci/deps first", err)
	}
	return process.New(r.t, name, path, "", args...).In(r.dir).With(r.env...).AsGroup()
}

// endless are commands that run until ctrl-C, and what they write once they do
// what they are for.
var endless = []struct{ command, sign string }{
	{"make dev ", "is up"},
	{"bin/skein tail ", "Listening"},
	{"bin/skein top ", "elected"},
	{"bin/skein people watch ", ""},
	{"bin/skein-edge ", "edge starts"},
	{"curl -N ", "subscribed"},
	{"npx vite ", "8080"},
}

// sign says whether a command is endless, and what it writes once it works.
func sign(command string) (string, bool) {
	for _, e := range endless {
		if strings.HasPrefix(command, e.command) && !strings.HasSuffix(strings.TrimSpace(command), "&") {
			return e.sign, true
		}
	}
	return "", false
}

// commands cuts a block where a reader would take another terminal: around
// commands that are endless.
func commands(text string) []string {
	var parts []string
	plain, line := "", ""
	for part := range strings.Lines(text) {
		line += part
		if strings.HasSuffix(part, "\\\n") {
			continue
		}
		if _, waits := sign(line); waits {
			parts = append(parts, plain, line)
			plain = ""
		} else {
			plain += line
		}
		line = ""
	}
	parts = append(parts, plain)
	kept := parts[:0]
	for _, part := range parts {
		if strings.TrimSpace(part) != "" {
			kept = append(kept, part)
		}
	}
	return kept
}
