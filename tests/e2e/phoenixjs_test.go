//go:build e2e

package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/skein-mesh/skein/tests/process"
)

// TestPhoenixJS runs the suite of tests/phoenixjs in Node: three published
// versions of npm phoenix, realtime-js, and pages in a browser. Each of its files
// starts a fleet of its own.
func TestPhoenixJS(t *testing.T) {
	for _, file := range []string{
		"channels.test.mjs", "longpoll.test.mjs", "presence.test.mjs", "crowd.test.mjs", "closes.test.mjs", "supabase.test.mjs", "tokens.test.mjs", "edges.test.mjs", "demo.test.mjs", "pages.test.mjs",
	} {
		t.Run(file, func(t *testing.T) { runNode(t, file) })
	}
}

func runNode(t *testing.T, file string) {
	t.Helper()
	folder, err := filepath.Abs(filepath.Join("..", "phoenixjs"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(folder, "node_modules")); err != nil {
		t.Fatalf("%v: run npm ci in tests/phoenixjs first", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	logs := t.TempDir()
	cmd := exec.CommandContext(ctx, "node", "--test", "--test-reporter=spec", file)
	cmd.Dir = folder
	cmd.Env = append(os.Environ(), "SKEIN_BIN="+filepath.Dir(process.Built(t, "skein")), "SKEIN_LOGS="+logs)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // so that it ends its fleet
	cmd.WaitDelay = 10 * time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		attach(t, logs)
		t.Errorf("node: %v", err)
	}
	t.Logf("%s", out)
}

// attach shows the ends of all files in a folder.
func attach(t *testing.T, folder string) {
	t.Helper()
	files, _ := filepath.Glob(filepath.Join(folder, "*.log"))
	for _, name := range files {
		text, _ := os.ReadFile(name)
		var o process.Output
		_, _ = o.Write(text)
		t.Logf("output of %s:\n%s", filepath.Base(name), o.Tail(15))
	}
}
