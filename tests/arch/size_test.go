package arch

import (
	"bytes"
	"go/ast"
	"testing"
)

// Budgets. The typical function is ten lines in every code base; only the tail
// differs, so the tail is what is limited.
const (
	fileLines         = 400
	functionLines     = 60
	testFunctionLines = 100
)

// exceptions to the budgets: a path, or path:function, with its own budget and
// the reason for it.
var exceptions = map[string]struct {
	lines  int
	reason string
}{}

func TestFilesAndFunctionsAreShort(t *testing.T) {
	used := map[string]bool{}
	check := func(what string, lines, budget int) {
		if e, ok := exceptions[what]; ok {
			used[what], budget = lines > budget, e.lines
		}
		if lines > budget {
			t.Errorf("%s has %d lines, its budget is %d: split it by what owns the state", what, lines, budget)
		}
	}
	for _, s := range sources(t) {
		check(s.path, bytes.Count(s.text, []byte("\n")), fileLines)
		budget := functionLines
		if s.test() {
			budget = testFunctionLines
		}
		for _, d := range s.file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok {
				check(s.path+":"+f.Name.Name, s.line(f.End())-s.line(f.Pos())+1, budget)
			}
		}
	}
	for what, e := range exceptions {
		if !used[what] || e.reason == "" {
			t.Errorf("exception for %s is not needed any more, or has no reason", what)
		}
	}
}
