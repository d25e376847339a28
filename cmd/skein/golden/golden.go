// Package golden compares what tests print with files. It is imported by tests
// only.
package golden

import (
	"os"
	"path/filepath"
	"testing"
)

// Compare fails t if got is not what the named file of testdata holds;
// SKEIN_UPDATE=1 writes the file instead.
func Compare(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if os.Getenv("SKEIN_UPDATE") != "" {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path) //nolint:gosec // a file of the test
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs:\n%s\nwant:\n%s", name, got, want)
	}
}
