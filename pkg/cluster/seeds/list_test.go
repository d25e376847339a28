package seeds

import (
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestSplit(t *testing.T) {
	for text, want := range map[string][]string{
		"":                               {""},
		"a:1":                            {"a:1"},
		"a:1,b:2":                        {"a:1", "b:2"},
		"static:a:1,b:2":                 {"static:a:1,b:2"},
		"a:1,dns:b,c,file:/x,y":          {"a:1", "dns:b,c", "file:/x,y"},
		"kubernetes:a=b,c in (d,e):1":    {"kubernetes:a=b,c in (d,e):1"},
		"exec:find --sep , dns:x,file:y": {"exec:find --sep , dns:x,file:y"},
		"dns:x, exec:y":                  {"dns:x", " exec:y"},
		"unknown:x,y:1":                  {"unknown:x", "y:1"},
	} {
		if got := (List{}).Split(text); !slices.Equal(got, want) {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

// Whatever is cut can be put together again, so nothing of a command is lost.
func TestSplitKeepsEveryByte(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		part := rapid.OneOf(rapid.SampledFrom([]string{"a:1", "dns:", "exec:x ", "file:/y", " ", "kubernetes:a=b"}), rapid.String())
		text := strings.Join(rapid.SliceOf(part).Draw(rt, "parts"), ",")
		if got := strings.Join(List{}.Split(text), ","); got != text {
			rt.Fatalf("%q became %q", text, got)
		}
	})
}

func TestSources(t *testing.T) {
	const selector = "app.kubernetes.io/name=skein-router,tier in (a,b)"
	for text, want := range map[string][]string{
		"":                            nil,
		"a:1, b_c.d:2,[::1]:3":        {"static"},
		"static:a:1,b:2":              {"static:a:1,b:2"},
		"dns:a,b:7,_x._tcp.c":         {"dns:a", "dns:b:7", "dns:_x._tcp.c"},
		"dns:a.":                      {"dns:a."},
		"file:/etc/a,b":               {"file:/etc/a,b"},
		"exec: find\t--token secret":  {"exec:find"},
		"kubernetes:" + selector:      {"kubernetes:" + selector},
		"kubernetes:skein/app=x:7946": {"kubernetes:skein/app=x:7946"},
		"dns:a,b:1,file:c":            {"dns:a", "dns:b:1", "file:c"},
	} {
		sources, err := List(itemsOf(text)).Sources("join", 5)
		if err != nil {
			t.Errorf("%q: %v", text, err)
		}
		var got []string
		for _, s := range sources {
			got = append(got, s.Name)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func TestLogHidesArguments(t *testing.T) {
	var text strings.Builder
	slog.New(slog.NewTextHandler(&text, nil)).Info("x", "routers", List{"a:1", "dns:b", "exec: find\t--token secret"})
	if got := text.String(); !strings.Contains(got, `routers="[a:1 dns:b exec:find]"`) {
		t.Errorf("got %s", got)
	}
}

// itemsOf is what package conf makes of a flag's text.
func itemsOf(text string) []string {
	var items []string
	for _, item := range (List{}).Split(text) {
		if item = strings.TrimSpace(item); item != "" {
			items = append(items, item)
		}
	}
	return items
}

// Each mistake is reported, behind the option that it is in.
func TestMistakes(t *testing.T) {
	for text, want := range map[string][]string{
		"a":                      {`"a" is not host:port`},
		"a:0":                    {"1 to 65535"},
		"a:http":                 {"1 to 65535"},
		"a b:1":                  {"letters, digits"},
		":1":                     {"1 to 253 bytes"},
		"consul:a":               {"1 to 65535", "static:, file:, dns:, kubernetes:, exec:"},
		"dns:///a:1":             {"letters, digits"},
		"xds:///a":               {`"xds:///a"`},
		"a,b,c:1":                {`"a"`, `"b"`},
		"static:":                {"not host:port"},
		"static:a:1,b":           {`join: static: "b"`},
		"file:":                  {"path"},
		"dns:":                   {"1 to 253"},
		"dns:7946":               {"static:dns:7946"},
		"dns:a:x":                {"1 to 65535"},
		"dns:_x._tcp.a:1":        {"ports of their own"},
		"dns:_x.a":               {"_gossip._tcp.routers.example"},
		"dns:a..b":               {"dots between"},
		"kubernetes:":            {"selector of pods"},
		"kubernetes:skein/":      {"selector of pods"},
		"kubernetes:a=b:http":    {"1 to 65535"},
		"kubernetes:=b":          {`selector "=b"`},
		"kubernetes:Skein/a=b:0": {`namespace "Skein"`, "1 to 65535"},
		"exec: ":                 {"command is missing"},
		"a,dns:_x.b,file:,exec:": {`"a"`, "_gossip", "path", "command is missing"},
	} {
		err := List(itemsOf(text)).Validate("join", time.Second)
		if err == nil {
			t.Errorf("%q was accepted", text)
			continue
		}
		for _, part := range want {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%q: %v does not mention %s", text, err, part)
			}
		}
		for line := range strings.Lines(err.Error()) {
			if !strings.HasPrefix(line, "join: ") {
				t.Errorf("%q: %q does not say where", text, line)
			}
		}
	}
	if err := (List{"a:1"}).Validate("join", 0); err == nil || !strings.Contains(err.Error(), "discovery-interval") {
		t.Errorf("interval 0: %v", err)
	}
}

func FuzzSources(f *testing.F) {
	for _, seed := range []string{
		"a:1,b:2", "static:a:1", "file:/x", "dns:a:1,_x._tcp.b", "kubernetes:skein/app.kubernetes.io/name=x:1", "exec:a b,c", "[::1%eth0]:1",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		sources, err := List(itemsOf(text)).Sources("join", 1)
		if (err == nil) == (len(sources) == 0 && len(itemsOf(text)) > 0) {
			t.Errorf("%q: %d sources and %v", text, len(sources), err)
		}
		for _, s := range sources {
			if static, ok := s.Strategy.(Static); ok {
				for _, address := range static {
					if checkAddress(address) != nil {
						t.Errorf("%q was taken for an address", address)
					}
				}
			}
		}
	})
}

func TestLines(t *testing.T) {
	for text, want := range map[string][]string{
		"":                     nil,
		"# nobody yet\n\n":     nil,
		"a:1":                  {"a:1"},
		"a:1\r\n b:2 # two\n":  {"a:1", "b:2"},
		"[fe80::1]:1\n#x\nc:3": {"[fe80::1]:1", "c:3"},
	} {
		if got, err := parseLines(text); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
	if _, err := parseLines("a:1\n\nb\nc"); classify(err) != malformed || !strings.Contains(err.Error(), `line 3: "b"`) {
		t.Errorf("got %v", err)
	}
}

func FuzzLines(f *testing.F) {
	for _, seed := range []string{"a:1\nb:2", "# x", "a:1 # y\r\n", "[::1]:5", "\x00", "a:1\nb"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		addresses, err := parseLines(text)
		if err != nil && classify(err) != malformed {
			t.Errorf("%q: %v", text, err)
		}
		for _, address := range addresses {
			if err := checkAddress(address); err != nil {
				t.Error(err)
			}
		}
		again, err := parseLines(strings.Join(addresses, "\n"))
		if err != nil || !slices.Equal(again, addresses) {
			t.Errorf("%q became %q, %v", addresses, again, err)
		}
	})
}
