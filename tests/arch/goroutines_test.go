package arch

import (
	"go/ast"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// row finds the file in the last column of a row of the goroutine table.
var row = regexp.MustCompile("^\\|.*\\| `([^`]+\\.go)` \\|$")

// TestGoroutineInventory compares ARCHITECTURE.md with the code: the table has
// one row for each go statement. A goroutine that nobody wrote down is one
// whose end nobody thought about.
func TestGoroutineInventory(t *testing.T) {
	var inCode, inTable []string
	for _, s := range sources(t) {
		if s.test() || strings.HasPrefix(s.path, "tests/") {
			continue
		}
		for range started(s.file) {
			inCode = append(inCode, s.path)
			if slices.Contains(pure, filepath.ToSlash(filepath.Dir(s.path))+"/") {
				t.Errorf("%s starts a goroutine: packages that decide must not", s.path)
			}
		}
	}
	text, err := os.ReadFile(filepath.Join(root, "ARCHITECTURE.md"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if match := row.FindStringSubmatch(strings.TrimSpace(line)); match != nil {
			inTable = append(inTable, match[1])
		}
	}
	for file, n := range count(inCode) {
		if listed := count(inTable)[file]; listed != n {
			t.Errorf("%s starts goroutines in %d places, ARCHITECTURE.md lists %d", file, n, listed)
		}
	}
	for file := range count(inTable) {
		if !slices.Contains(inCode, file) {
			t.Errorf("ARCHITECTURE.md lists a goroutine of %s, which starts none", file)
		}
	}
}

// started returns the places that start a goroutine: go statements, and calls
// of a method Go with a function, as of sync.WaitGroup and errgroup.Group.
func started(file *ast.File) []ast.Node {
	var found []ast.Node
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			found = append(found, n)
		case *ast.CallExpr:
			if f, ok := n.Fun.(*ast.SelectorExpr); ok && f.Sel.Name == "Go" && len(n.Args) == 1 {
				found = append(found, n)
			}
		}
		return true
	})
	return found
}

func count(values []string) map[string]int {
	counts := map[string]int{}
	for _, v := range values {
		counts[v]++
	}
	return counts
}
