package conf

import (
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

type colour string

type tint struct {
	Names []string `conf:"names" usage:"what it is called"`
	Depth int      `conf:"depth" usage:"how deep | how dark"`
}

type shade struct {
	Name   string        `conf:"name" usage:"of the shade"`
	Colour colour        `conf:"colour" usage:"of the light"`
	Fade   time.Duration `conf:"fade" usage:"how long it takes"`
	Bright bool          `conf:"bright" usage:"seen by day"`
	Key    string        `conf:"key" usage:"its key" secret:"true"`
	Tint   tint          `conf:"tint"`
}

// SetDefaults fills what is empty.
func (s *shade) SetDefaults() {
	if s.Colour == "" {
		s.Colour = "grey"
	}
	if s.Fade == 0 {
		s.Fade = time.Second
	}
}

type plain struct {
	N int `conf:"n" usage:"number"`
}

type painted struct {
	Shades []shade `conf:"shades" usage:"the shades"`
	Plain  []plain `conf:"plain" usage:"numbers"`
	Size   int     `conf:"size" usage:"size"`
}

// Validate accepts everything.
func (*painted) Validate() error { return nil }

func paint(args, env []string, file string) (*painted, error) {
	cfg := &painted{Shades: []shade{{Name: "default"}}}
	opts := options(cfg)
	given, problems := readYAML(strings.NewReader(file), "skein.yaml", opts)
	if len(problems) > 0 {
		return cfg, &Error{problems}
	}
	for _, g := range given {
		g.option.field.Set(g.value)
	}
	return cfg, Load(cfg, Source{Name: "skein-test", Args: args, Getenv: getenv(env...), Stderr: io.Discard})
}

func TestTableFromEverySource(t *testing.T) {
	want := []shade{
		{Name: "a", Colour: "red", Fade: time.Minute, Bright: true, Tint: tint{Names: []string{"x", "y"}, Depth: 3}},
		{Name: "b", Colour: "grey", Fade: time.Second},
	}
	yaml := "[{name: a, colour: red, fade: 1m, bright: true, tint: {names: [x, y], depth: 3}}, {name: b}]"
	first, _, _ := strings.Cut(yaml, ", {name: b")
	json := `[{"name":"a","colour":"red","fade":"1m","bright":true,"tint_names":["x","y"],"tint_depth":3},{"name":"b"}]`
	block := "shades:\n  - name: a\n    colour: red\n    fade: 1m\n    bright: true\n    tint:\n      names: x, y\n      depth: 3\n  - name: b\n"
	alias := "plain: [&p {n: 1}, *p]\n" + block
	for name, in := range map[string]struct {
		args, env []string
		file      string
	}{
		"flag":           {args: []string{"--shades", yaml}},
		"flag, JSON":     {args: []string{"--shades=" + json}},
		"flags":          {args: []string{"--shades=" + first + "]", "--shades=[{name: b}]"}},
		"environment":    {env: []string{"SKEIN_SHADES=" + yaml}},
		"file":           {file: block},
		"flow in a file": {file: "shades: " + yaml},
		"aliases":        {file: alias},
		"flag over all":  {args: []string{"--shades", json}, env: []string{"SKEIN_SHADES=[]"}, file: "shades: [{name: z}]"},
	} {
		got, err := paint(in.args, in.env, in.file)
		if err != nil || !reflect.DeepEqual(got.Shades, want) {
			t.Errorf("%s: got %+v, %v", name, got.Shades, err)
		}
	}
	for name, args := range map[string][]string{"empty": {"--shades="}, "none": {"--shades=[]"}} {
		if got, err := paint(args, nil, ""); err != nil || len(got.Shades) != 0 {
			t.Errorf("%s: got %+v, %v", name, got.Shades, err)
		}
	}
}

func TestTableProblems(t *testing.T) {
	_, err := paint(nil, nil, ""+
		"shades:\n"+
		"  - nam: a\n"+
		"    tint:\n"+
		"      dept: 3\n"+
		"    fade: soon\n"+
		"  - name: b\n"+
		"    bright: true\n"+
		"    bright: false\n"+
		"    colour: [red]\n"+
		"    tint: {names: [[a]]}\n"+
		"  - 7\n"+
		"plain: {n: 1}\n")
	var bad *Error
	if !errors.As(err, &bad) {
		t.Fatal(err)
	}
	want := []string{
		`skein.yaml:2: unknown key "shades[0].nam" (did you mean name?)`,
		`skein.yaml:4: unknown key "shades[0].tint.dept" (did you mean tint_depth?)`,
		`skein.yaml:5: shades[0].fade: "soon" is not a duration such as "30s" or "1m30s"`,
		`skein.yaml:8: "shades[1].bright" is given twice, first on line 7`,
		`skein.yaml:9: "shades[1].colour" takes a text`,
		`skein.yaml:10: "shades[1].tint.names" takes a list of plain values`,
		`skein.yaml:11: "shades[2]" takes keys with values`,
		`skein.yaml:12: "plain" takes a list of mappings`,
	}
	if !slices.Equal(bad.Problems, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(bad.Problems, "\n"), strings.Join(want, "\n"))
	}
}

func TestTableProblemsInText(t *testing.T) {
	for text, want := range map[string]string{
		"[{nam: a}, 3]": `unknown key "shades[0].nam" (did you mean name?); "shades[1]" takes keys with values`,
		"{name: a}":     `"shades" takes a list of mappings`,
		"a":             `"shades" takes a list of mappings`,
		"[{":            "not a list of mappings: ",
	} {
		if _, err := paint([]string{"--shades", text}, nil, ""); err == nil || !strings.Contains(err.Error(), "--shades: "+want) {
			t.Errorf("flag %q: %v", text, err)
		}
		if _, err := paint(nil, []string{"SKEIN_SHADES=" + text}, ""); err == nil || !strings.Contains(err.Error(), "SKEIN_SHADES: "+want) {
			t.Errorf("variable %q: %v", text, err)
		}
	}
}

// words are what an element of a list may be: lists are separated by commas.
func words() *rapid.Generator[string] { return rapid.StringMatching(`[a-z*:.#"'\\|\[{]{1,8}`) }

func anyShade() *rapid.Generator[shade] {
	return rapid.Custom(func(t *rapid.T) shade {
		s := shade{
			Name: rapid.StringMatching(`[^()]*`).Draw(t, "name"), Colour: colour(rapid.String().Draw(t, "colour")),
			Fade: time.Duration(rapid.Int64().Draw(t, "fade")), Bright: rapid.Bool().Draw(t, "bright"),
			Tint: tint{Names: rapid.SliceOfN(words(), 0, 3).Draw(t, "names"), Depth: rapid.Int().Draw(t, "depth")},
		}
		s.SetDefaults()
		return s
	})
}

// exactly shows a configuration; no list is an empty list.
func exactly(p *painted) string {
	return strings.NewReplacer("(nil)", "{}").Replace(fmt.Sprintf("%#v", *p))
}

// What is printed is read back, as a file and as the value of a flag.
func TestTableReadsBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := &painted{Shades: rapid.SliceOfN(anyShade(), 0, 4).Draw(t, "shades"), Size: 3}
		file, flag := YAML(want), options(want)[0].String()
		for name, in := range map[string]struct {
			args []string
			file string
		}{"file": {nil, file}, "flag": {[]string{"--size=3", "--shades", flag}, ""}} {
			got, err := paint(in.args, nil, in.file)
			if err != nil || exactly(got) != exactly(want) {
				t.Fatalf("%s: got %+v, %v\nwant %+v\nfrom %s\nand %s", name, *got, err, *want, file, flag)
			}
		}
	})
}

func TestTableIsDocumented(t *testing.T) {
	cfg := &painted{Shades: []shade{{Name: "a", Colour: "grey", Fade: time.Minute, Key: "hunter2", Tint: tint{Names: []string{"x"}}}}}
	text := Markdown(cfg)
	for _, want := range []string{
		"| `--shades` | `SKEIN_SHADES` | `shades` | `[{name: \"a\", fade: 1m0s, tint_names: [\"x\"]}]` | the shades |\n",
		"\nEach element of `shades` has:\n\n| Key | Default | Meaning |\n|---|---|---|\n| `name` |  | of the shade |\n",
		"| `colour` | `grey` | of the light |\n| `fade` | `1s` | how long it takes |\n",
		"| `tint_depth` | `0` | how deep \\| how dark |\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
	want := "# the shades\nshades:\n  - name: \"a\"\n    colour: \"grey\"\n    fade: 1m0s\n    bright: false\n" +
		"    tint_names: [\"x\"]\n    tint_depth: 0\n\n# numbers\nplain: []\n\n"
	if text := YAML(cfg); !strings.HasPrefix(text, want) {
		t.Errorf("got\n%s", text)
	}
	if strings.Contains(YAML(cfg)+text, "hunter2") {
		t.Error("a secret was printed")
	}
}

func FuzzTable(f *testing.F) {
	for _, seed := range []string{"", "[]", "[{name: a}]", `[{"fade":"1m"}]`, "&a [*a]", "[&a {tint: *a}]", "[{<<: {name: b}}]", "[{tint: {names: [a]}}]", "- ? [x]\n  : y\n"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		cfg := &painted{}
		o := options(cfg)[0]
		if rows, err := o.parse(text); err == nil {
			o.field.Set(rows)
			if _, err := o.parse(o.String()); err != nil {
				t.Errorf("%q became %q, which cannot be read: %v", text, o.String(), err)
			}
		}
	})
}
