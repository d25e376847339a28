package arch

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func TestEveryPackageSaysWhatItIs(t *testing.T) {
	files := map[string][]string{} // files with a package comment, by folder and package name
	for _, s := range sources(t) {
		key := path.Dir(s.path) + " " + strings.TrimSuffix(s.file.Name.Name, "_test")
		if files[key] == nil {
			files[key] = []string{}
		}
		if s.file.Doc != nil && strings.TrimSpace(s.file.Doc.Text()) != "" {
			files[key] = append(files[key], s.path)
		}
	}
	for key, documented := range files {
		if len(documented) != 1 {
			t.Errorf("package %q must have one package comment, has %d: %v", key, len(documented), documented)
		}
	}
}

// link finds relative links and pictures in Markdown.
var link = regexp.MustCompile(`\]\(([^)#]+?)(#[^)]*)?\)`)

func TestLinksInDocsLeadSomewhere(t *testing.T) {
	pages, err := filepath.Glob(filepath.Join(root, "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, folder := range []string{"docs", "docs/decisions"} {
		more, err := filepath.Glob(filepath.Join(root, folder, "*.md"))
		if err != nil {
			t.Fatal(err)
		}
		pages = append(pages, more...)
	}
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range link.FindAllStringSubmatch(string(text), -1) {
			target := match[1]
			if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(page), target)); err != nil {
				t.Errorf("%s links to %s, which is not there", page, target)
			}
		}
	}
}
