package conf

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

type common struct {
	LogLevel slog.Level `conf:"log-level" usage:"least level of log lines"`
}

type limits struct {
	Frame int `conf:"frame" usage:"most bytes of one frame"`
}

type sample struct {
	common
	Listen   string        `conf:"listen"   usage:"where clients connect"`
	Outbox   int           `conf:"outbox-bytes" usage:"most bytes that wait for one socket"`
	Seed     uint64        `conf:"seed"     usage:"seed"`
	Ratio    float64       `conf:"ratio"    usage:"ratio of traces"`
	Insecure bool          `conf:"insecure" usage:"no TLS"`
	Linger   time.Duration `conf:"linger"   usage:"how long a row stays"`
	Routers  []string      `conf:"routers"  usage:"where routers are"`
	Key      string        `conf:"key"      usage:"gossip key" secret:"true"`
	Limits   limits        `conf:"limits"`
	Untagged int
}

func (s *sample) Validate() error {
	var errs []error
	if s.Outbox < 1 {
		errs = append(errs, fmt.Errorf("outbox-bytes: %d is too few", s.Outbox))
	}
	if len(s.Routers) == 0 {
		errs = append(errs, errors.New("routers: at least one is required"))
	}
	return errors.Join(errs...)
}

func defaults() *sample {
	return &sample{Listen: "127.0.0.1:4000", Outbox: 1024, Linger: time.Second, Routers: []string{"a:1"}, Limits: limits{Frame: 9}}
}

// load runs Load with arguments, variables ("A=b") and, if not empty, a file.
func load(t *testing.T, args, env []string, file string) (*sample, error) {
	t.Helper()
	if file != "" {
		path := filepath.Join(t.TempDir(), "skein.yaml")
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "--config", path)
	}
	cfg := defaults()
	return cfg, Load(cfg, Source{Name: "skein-test", Args: args, Stderr: io.Discard, Getenv: getenv(env...)})
}

func getenv(env ...string) func(string) string {
	return func(name string) string {
		for _, e := range env {
			if k, v, _ := strings.Cut(e, "="); k == name {
				return v
			}
		}
		return ""
	}
}

func TestEverySourceFillsEveryType(t *testing.T) {
	want := sample{
		common: common{LogLevel: slog.LevelWarn}, Listen: ":9", Outbox: 7, Seed: 8, Ratio: 0.5, Insecure: true,
		Linger: time.Minute, Routers: []string{"b:1", "c:2"}, Key: "k", Limits: limits{Frame: 3},
	}
	for name, in := range map[string]struct {
		args, env []string
		file      string
	}{
		"flags": {args: []string{
			"--log-level=warn", "--listen", ":9", "--outbox-bytes=7", "--seed=8", "--ratio=0.5", "--insecure",
			"--linger=1m", "--routers=b:1", "--routers", "c:2", "--key=k", "--limits-frame=3",
		}},
		"environment": {env: []string{
			"SKEIN_LOG_LEVEL=WARN", "SKEIN_LISTEN=:9", "SKEIN_OUTBOX_BYTES=7", "SKEIN_SEED=8", "SKEIN_RATIO=0.5",
			"SKEIN_INSECURE=true", "SKEIN_LINGER=60s", "SKEIN_ROUTERS=b:1, c:2", "SKEIN_KEY=k", "SKEIN_LIMITS_FRAME=3",
		}},
		"file": {file: "log_level: warn\nlisten: ':9'\noutbox_bytes: 7\nseed: 8\nratio: .5\ninsecure: true\n" +
			"linger: 1m\nrouters: [b:1, c:2]\nkey: k\nlimits:\n  frame: 3\n"},
		"flat file": {file: "log_level: WARN\nlisten: ':9'\noutbox_bytes: 7\nseed: 8\nratio: 0.5\ninsecure: true\n" +
			"linger: 1m\nrouters: b:1,c:2\nkey: k\nlimits_frame: 3\n"},
	} {
		got, err := load(t, in.args, in.env, in.file)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if fmt.Sprintf("%+v", *got) != fmt.Sprintf("%+v", want) {
			t.Errorf("%s:\n got %+v\nwant %+v", name, *got, want)
		}
	}
}

func TestPrecedence(t *testing.T) {
	file := "outbox_bytes: 2\nseed: 2\nlinger: 2s\n"
	got, err := load(t, []string{"--outbox-bytes=4"}, []string{"SKEIN_OUTBOX_BYTES=3", "SKEIN_SEED=3"}, file)
	if err != nil {
		t.Fatal(err)
	}
	if got.Outbox != 4 || got.Seed != 3 || got.Linger != 2*time.Second || got.Limits.Frame != 9 {
		t.Errorf("flag, environment, file, default: got %d %d %s %d", got.Outbox, got.Seed, got.Linger, got.Limits.Frame)
	}
}

func TestPort(t *testing.T) {
	for _, c := range []struct {
		name      string
		args, env []string
		file      string
		want      string
	}{
		{"alone", nil, []string{"PORT=8080"}, "", ":8080"},
		{"not set", nil, nil, "", "127.0.0.1:4000"},
		{"beside a flag", []string{"--listen=:1"}, []string{"PORT=8080"}, "", ":1"},
		{"beside a variable", nil, []string{"PORT=8080", "SKEIN_LISTEN=:2"}, "", ":2"},
		{"beside a file", nil, []string{"PORT=8080"}, "listen: ':3'\n", ":3"},
	} {
		got, err := load(t, c.args, c.env, c.file)
		if err != nil || got.Listen != c.want {
			t.Errorf("%s: got %q, %v, want %q", c.name, got.Listen, err, c.want)
		}
	}
	for _, port := range []string{"http", "0", "65536", "-1"} {
		if _, err := load(t, nil, []string{"PORT=" + port}, ""); err == nil {
			t.Errorf("PORT=%s was taken", port)
		}
	}
}

func TestEveryProblemAtOnce(t *testing.T) {
	_, err := load(t,
		[]string{"--linger=soon", "--outbox-byte", "5", "stray", "--routers=", "--seed=-1"},
		[]string{"SKEIN_RATIO=half", "SKEIN_SEED=x"},
		"outbox_bytes: 0\n"+
			"outbox_bytes: 1\n"+
			"lisen: ':1'\n"+
			"limits:\n  fram: 3\n"+
			"linger:\n"+
			"seed: [1, 2]\n"+
			"insecure: maybe\n")
	var bad *Error
	if !errors.As(err, &bad) || ExitCode(err) != 2 {
		t.Fatalf("got %v, want an *Error that exits 2", err)
	}
	got := make([]string, len(bad.Problems))
	for i, p := range bad.Problems {
		if at := strings.Index(p, "skein.yaml"); at > 0 {
			p = p[at:]
		}
		got[i] = p
	}
	want := []string{
		`unknown flag --outbox-byte (did you mean --outbox-bytes?)`,
		`unexpected argument "stray"`,
		`--linger: "soon" is not a duration such as "30s" or "1m30s"`,
		`--seed: "-1" is not a whole number of at least 0`,
		`skein.yaml:2: "outbox_bytes" is given twice, first on line 1`,
		`skein.yaml:3: unknown key "lisen" (did you mean listen?)`,
		`skein.yaml:5: unknown key "limits.fram" (did you mean limits_frame?)`,
		`skein.yaml:6: "linger" has no value`,
		`skein.yaml:7: "seed" takes a number`,
		`skein.yaml:8: insecure: "maybe" is not true or false`,
		`SKEIN_SEED: "x" is not a whole number of at least 0`,
		`SKEIN_RATIO: "half" is not a number`,
		`outbox-bytes: 0 is too few`,
		`routers: at least one is required`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if !strings.Contains(err.Error(), "14 problems:\n  unknown flag") {
		t.Errorf("message: %s", err)
	}
}

func TestFileProblems(t *testing.T) {
	for name, c := range map[string]struct{ file, want string }{
		"not YAML":    {"listen: [", "did not find expected node content"},
		"not a table": {"- a\n- b\n", "skein.yaml:1: must be a list of keys with values"},
		"deep list":   {"routers: [[a]]\n", `skein.yaml:1: "routers" takes a list of plain values`},
		"table":       {"listen: {a: b}\n", `skein.yaml:1: "listen" takes a text`},
	} {
		if _, err := load(t, nil, nil, c.file); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
	if _, err := load(t, []string{"--config=/nowhere.yaml"}, nil, ""); ExitCode(err) != 2 {
		t.Errorf("missing file: %v", err)
	}
	for _, empty := range []string{"# nothing\n", "---\n", "~\n"} {
		if _, err := load(t, nil, nil, empty); err != nil {
			t.Errorf("%q: %v", empty, err)
		}
	}
}

func TestConfigFromEnvironment(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(path, []byte("seed: &s 5\noutbox_bytes: *s\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := load(t, nil, []string{"SKEIN_CONFIG=" + path}, "")
	if err != nil || got.Seed != 5 || got.Outbox != 5 {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestHelpAndVersion(t *testing.T) {
	for arg, want := range map[string]string{
		"--help": "--outbox-bytes number", "-h": "Each flag is also", "--version": "skein-test ",
	} {
		var out strings.Builder
		cfg := defaults()
		cfg.Key = "hunter2"
		err := Load(cfg, Source{Name: "skein-test", Args: []string{arg, "--no-such"}, Stderr: &out, Getenv: getenv()})
		if !errors.Is(err, ErrHelp) || ExitCode(err) != 0 {
			t.Errorf("%s: %v", arg, err)
		}
		if !strings.Contains(out.String(), want) || strings.Contains(out.String(), "hunter2") {
			t.Errorf("%s printed:\n%s", arg, out.String())
		}
	}
}

func TestFlagsAndResolve(t *testing.T) {
	cfg := defaults()
	fs := Flags(cfg)
	if fs.Lookup("help") != nil || fs.Lookup("version") != nil {
		t.Error("the program has its own help and version")
	}
	if err := fs.Parse([]string{"--outbox-bytes=4"}); err != nil {
		t.Fatal(err)
	}
	if err := Resolve(cfg, fs, Source{Getenv: getenv("SKEIN_OUTBOX_BYTES=3", "SKEIN_SEED=3")}); err != nil {
		t.Fatal(err)
	}
	if cfg.Outbox != 4 || cfg.Seed != 3 {
		t.Errorf("got %d, %d", cfg.Outbox, cfg.Seed)
	}
}

func TestYAMLReadsBack(t *testing.T) {
	cfg := defaults()
	cfg.Routers, cfg.Listen, cfg.LogLevel = []string{"x:1", "y:2"}, `odd "name": #1`, slog.LevelError
	got, err := load(t, nil, nil, YAML(cfg))
	if err != nil || fmt.Sprint(got) != fmt.Sprint(cfg) {
		t.Errorf("got %+v, %v\nfrom\n%s", got, err, YAML(cfg))
	}
	cfg.Key = "hunter2"
	if text := YAML(cfg) + Markdown(cfg); strings.Contains(text, "hunter2") {
		t.Error("a secret was printed")
	}
}

func TestMarkdown(t *testing.T) {
	want := "| `--outbox-bytes` | `SKEIN_OUTBOX_BYTES` | `outbox_bytes` | `1024` | most bytes that wait for one socket |\n"
	if got := Markdown(defaults()); !strings.Contains(got, want) {
		t.Errorf("got\n%s", got)
	}
}

func TestExitCode(t *testing.T) {
	if ExitCode(nil) != 0 || ExitCode(io.EOF) != 1 || ExitCode(fmt.Errorf("start: %w", &Error{})) != 2 {
		t.Error("wrong exit codes")
	}
}

func FuzzReadYAML(f *testing.F) {
	for _, seed := range []string{"", "listen: ':1'\n", "limits: {frame: 3}\n", "a: &a [*a]\n", "routers: [a, b]\n", "? [x]\n: y\n", "<<: {}\n"} {
		f.Add(seed)
	}
	f.Fuzz(func(_ *testing.T, text string) {
		given, _ := readYAML(strings.NewReader(text), "f", options(defaults()))
		for _, g := range given {
			g.option.field.Set(g.value)
		}
	})
}
