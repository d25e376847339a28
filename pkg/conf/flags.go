package conf

import (
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"github.com/skein-mesh/skein/pkg/version"
)

func flags(opts []*option) *pflag.FlagSet {
	fs := pflag.NewFlagSet("", pflag.ContinueOnError)
	fs.SortFlags = false
	for _, o := range opts {
		f := fs.VarPF(o, o.name, "", o.usage)
		f.DefValue = o.shown()
		if o.Type() == "bool" {
			f.NoOptDefVal = "true"
		}
	}
	fs.String(configFlag, "", "YAML file with the same keys, in snake case")
	fs.BoolP(helpFlag, "h", false, "print this help")
	fs.Bool(versionFlag, false, "print the version")
	return fs
}

// parse sets fs from args like [pflag.FlagSet.Parse], but goes on after a
// problem.
func parse(fs *pflag.FlagSet, args []string) []string {
	known, problems := sift(fs, args)
	err := fs.ParseAll(known, func(f *pflag.Flag, value string) error {
		if err := fs.Set(f.Name, value); err != nil {
			problems = append(problems, fmt.Sprintf("--%s: %s", f.Name, cause(err)))
		}
		return nil
	})
	if err != nil {
		problems = append(problems, err.Error())
	}
	return problems
}

// cause is the message below pflag's own, which repeats flag and value.
func cause(err error) string {
	if u, ok := err.(interface{ Unwrap() error }); ok && u.Unwrap() != nil {
		return u.Unwrap().Error()
	}
	return err.Error()
}

// sift separates what fs knows from what it does not, with the values.
func sift(fs *pflag.FlagSet, args []string) (known, problems []string) {
	for i := 0; i < len(args); i++ {
		arg := args[i]
		if arg == "-h" {
			known = append(known, arg)
			continue
		}
		name, isFlag := strings.CutPrefix(arg, "--")
		if !isFlag || name == "" {
			problems = append(problems, fmt.Sprintf("unexpected argument %q", arg))
			continue
		}
		name, _, hasValue := strings.Cut(name, "=")
		f := fs.Lookup(name)
		wantsValue := !hasValue && (f == nil || f.NoOptDefVal == "")
		if f == nil {
			problems = append(problems, fmt.Sprintf("unknown flag --%s%s", name, suggest("--", name, flagNames(fs))))
		} else {
			known = append(known, arg)
		}
		if !wantsValue || i+1 == len(args) || f == nil && strings.HasPrefix(args[i+1], "-") {
			continue
		}
		i++
		if f != nil {
			known = append(known, args[i])
		}
	}
	return known, problems
}

func flagNames(fs *pflag.FlagSet) []string {
	var names []string
	fs.VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	return names
}

func usage(src Source, fs *pflag.FlagSet) {
	var b strings.Builder
	if src.About != "" {
		fmt.Fprintf(&b, "%s\n\n", src.About)
	}
	fmt.Fprintf(&b, "Usage:\n  %s [flags]\n\nFlags:\n%s\n", src.Name, fs.FlagUsagesWrapped(100))
	fmt.Fprintf(&b, "Each flag is also an environment variable (--log-level is SKEIN_LOG_LEVEL) and a key of\n"+
		"the YAML file (log_level). A flag beats the environment, which beats the file.\n")
	_, _ = src.Stderr.Write([]byte(b.String()))
}

func printVersion(src Source) {
	_, _ = fmt.Fprintf(src.Stderr, "%s %s\n", src.Name, version.Version)
}

// suggest is ` (did you mean "x"?)` for the name most like the given one, or
// nothing if none is close.
func suggest(prefix, name string, names []string) string {
	best, least := "", 1+max(1, len(name)/3)
	for _, candidate := range names {
		if d := distance(name, candidate); d < least {
			best, least = candidate, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(" (did you mean %s%s?)", prefix, best)
}

// distance is the number of single-letter edits between two names
// (Levenshtein's).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			next := min(diagonal+cost, row[j]+1, row[j+1]+1)
			diagonal, row[j+1] = row[j+1], next
		}
	}
	return row[len(b)]
}
