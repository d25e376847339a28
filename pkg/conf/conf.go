// Package conf fills one plain struct from flags, the environment and a YAML
// file, and documents it.
//
// A field takes part when it has a conf tag with its name in kebab case:
//
//	OutboxBytes int `conf:"outbox-bytes" usage:"most bytes that may wait for one socket"`
//
// It is then the flag --outbox-bytes, the variable SKEIN_OUTBOX_BYTES and the
// YAML key outbox_bytes. What the struct holds beforehand is the default. A
// flag beats the environment, which beats the file. An embedded struct adds its
// fields as they are, a struct field with a tag adds them behind its name
// ("limits" and "frame" make --limits-frame and, in YAML, either limits_frame
// or frame below limits). A field tagged secret:"true" is never printed.
//
// Fields may be strings, booleans, whole numbers, float64, [time.Duration],
// []string, or implement [encoding.TextUnmarshaler]. The items of a list stand
// between commas; a type of its own over []string may cut them otherwise by a
// method Split(text string) []string.
//
// A field may also be a table: a slice of structs with such fields. In the file
// it is a list of mappings, in its flag and variable the same list as YAML or
// JSON text. Each element starts as zero; if its pointer has a method
// SetDefaults(), that then fills what was left out.
package conf

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
)

// Config is a pointer to a struct that this package fills. Validate reports
// every problem at once, joined by [errors.Join].
type Config interface {
	Validate() error
}

// Source says where values come from.
type Source struct {
	Name   string              // of the program, for messages: "skein-edge"
	About  string              // one sentence for --help
	Args   []string            // command line without the program's name
	Getenv func(string) string // [os.Getenv]; an empty value counts as not set
	Stderr io.Writer           // gets what --help and --version print
}

// ErrHelp is returned when the command line asked for help or the version,
// which has been printed. There is nothing more to do: exit 0.
var ErrHelp = errors.New("conf: help was asked for")

// Error is every problem of a configuration, in the order of its sources.
type Error struct {
	Problems []string
}

// Error lists the problems, one on a line.
func (e *Error) Error() string {
	if len(e.Problems) == 1 {
		return "bad configuration: " + e.Problems[0]
	}
	return fmt.Sprintf("bad configuration, %d problems:\n  %s", len(e.Problems), strings.Join(e.Problems, "\n  "))
}

// ExitCode is what a program exits with after err: 0 for nil and [ErrHelp], 2
// for an [*Error], else 1.
func ExitCode(err error) int {
	var bad *Error
	switch {
	case err == nil || errors.Is(err, ErrHelp):
		return 0
	case errors.As(err, &bad):
		return 2
	}
	return 1
}

// Load fills cfg and validates it. It returns [ErrHelp], an [*Error] that holds
// every problem of every source, or nil.
func Load(cfg Config, src Source) error {
	opts := options(cfg)
	fs := flags(opts)
	problems := parse(fs, src.Args)
	if help, _ := fs.GetBool(helpFlag); help {
		usage(src, fs)
		return ErrHelp
	}
	if show, _ := fs.GetBool(versionFlag); show {
		printVersion(src)
		return ErrHelp
	}
	return resolve(cfg, opts, fs, src, problems)
}

// Flags returns the flags of cfg, which write to it, for programs that parse
// their command line themselves and call [Resolve] afterwards.
func Flags(cfg Config) *pflag.FlagSet {
	fs := flags(options(cfg))
	bare := pflag.NewFlagSet("", pflag.ContinueOnError)
	fs.VisitAll(func(f *pflag.Flag) {
		if f.Name != helpFlag && f.Name != versionFlag {
			bare.AddFlag(f)
		}
	})
	return bare
}

// Resolve adds file and environment to what the flags fs of [Flags] have set on
// cfg, and validates it. Source's Args are not looked at.
func Resolve(cfg Config, fs *pflag.FlagSet, src Source) error {
	return resolve(cfg, options(cfg), fs, src, nil)
}

// resolve applies, to options that no flag set, the file and then the
// environment. Even values that lose are checked: they would surprise later.
func resolve(cfg Config, opts []*option, fs *pflag.FlagSet, src Source, problems []string) error {
	flagged := func(name string) bool { f := fs.Lookup(name); return f != nil && f.Changed }
	path, err := fs.GetString(configFlag)
	if err != nil || path == "" {
		path = src.Getenv(envName(configFlag))
	}
	set := map[string]bool{}
	if path != "" {
		given, bad := readFile(path, opts)
		problems = append(problems, bad...)
		for _, g := range given {
			set[g.option.name] = true
			if !flagged(g.option.name) {
				g.option.field.Set(g.value)
			}
		}
	}
	for _, o := range opts {
		value := src.Getenv(envName(o.name))
		if value == "" {
			continue
		}
		set[o.name] = true
		if fresh, err := o.parse(value); err != nil {
			problems = append(problems, fmt.Sprintf("%s: %v", envName(o.name), err))
		} else if !flagged(o.name) {
			o.field.Set(fresh)
		}
	}
	for _, o := range opts {
		if o.name == listenFlag && !set[o.name] && !flagged(o.name) {
			problems = append(problems, platformPort(o, src.Getenv("PORT"))...)
		}
	}
	problems = append(problems, lines(cfg.Validate())...)
	if len(problems) > 0 {
		return &Error{problems}
	}
	return nil
}

// platformPort makes the public listener follow $PORT, by which hosting
// platforms say where they will connect to, from outside of the host.
func platformPort(o *option, port string) []string {
	if port == "" {
		return nil
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return []string{fmt.Sprintf("PORT: %q is not a port number", port)}
	}
	fresh, err := o.parse(":" + port)
	if err != nil {
		return []string{fmt.Sprintf("PORT: %v", err)}
	}
	o.field.Set(fresh)
	return nil
}

// lines splits the errors that [errors.Join] put one on a line.
func lines(err error) []string {
	if err == nil {
		return nil
	}
	return strings.Split(err.Error(), "\n")
}
