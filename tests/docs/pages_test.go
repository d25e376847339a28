//go:build e2e

package docs

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/skein-mesh/skein/tests/process"
)

// block is what a reader pastes into a terminal: the commands between two fences.
type block struct {
	page string // path in the repository
	line int
	text string
}

func (b block) String() string { return fmt.Sprintf("%s:%d", b.page, b.line) }

// ref names a block by its page and by how it begins.
type ref struct{ page, begin string }

func (r ref) means(b block) bool { return r.page == b.page && strings.HasPrefix(b.text, r.begin) }

// find returns the only block that a ref names.
func find(t *testing.T, blocks []block, r ref) block {
	t.Helper()
	found := slices.DeleteFunc(slices.Clone(blocks), func(b block) bool { return !r.means(b) })
	if len(found) != 1 {
		t.Fatalf("%s has %d blocks that begin with %q, want one", r.page, len(found), r.begin)
	}
	return found[0]
}

// read returns the blocks of shell commands of all pages.
func read(t *testing.T) []block {
	t.Helper()
	var blocks []block
	for _, pattern := range []string{"README.md", "docs/*.md", "examples/*/README.md", "deploy/*/README.md"} {
		pages, err := filepath.Glob(filepath.Join(process.Root(), pattern))
		if err != nil || len(pages) == 0 {
			t.Fatalf("no page is called %s (%v)", pattern, err)
		}
		for _, page := range pages {
			text, err := os.ReadFile(page)
			if err != nil {
				t.Fatal(err)
			}
			name, _ := filepath.Rel(process.Root(), page)
			blocks = append(blocks, fenced(name, string(text))...)
		}
	}
	return blocks
}

// fenced returns the blocks of a page that are marked as sh, or not at all.
func fenced(page, text string) []block {
	var (
		blocks      []block
		open, shell bool
	)
	for i, line := range strings.Split(text, "\n") {
		language, fence := strings.CutPrefix(line, "```")
		switch {
		case fence:
			open = !open
			shell = open && (language == "" || language == "sh")
			if shell {
				blocks = append(blocks, block{page: page, line: i + 2})
			}
		case shell:
			blocks[len(blocks)-1].text += line + "\n"
		}
	}
	return blocks
}

func TestFencedFindsShellOnly(t *testing.T) {
	got := fenced("a.md", "x\n```sh\nls\n```\n```js\nlet a\n```\n```\nmake\nls\n```\n")
	want := []block{{"a.md", 3, "ls\n"}, {"a.md", 9, "make\nls\n"}}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// contains says whether a text has all of some others.
func contains(text string, wanted ...string) bool {
	return !slices.ContainsFunc(wanted, func(want string) bool { return !strings.Contains(text, want) })
}
