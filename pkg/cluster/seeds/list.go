package seeds

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"
)

// List is what an operator writes: addresses, and texts that begin with the name
// of a strategy. The package's doc lists them.
type List []string

// schemes are the names of strategies.
func schemes() []string { return []string{"static", "file", "dns", "kubernetes", "exec"} }

// parse makes a strategy of the text behind its name. port is for those that
// name none.
func parse(scheme, text string, port uint16) (Strategy, error) {
	switch scheme {
	case "file":
		return parseFile(text)
	case "dns":
		return parseDNS(text, port)
	case "kubernetes":
		return parseKubernetes(text, port)
	case "exec":
		return parseExec(text)
	default:
		return parseStatic(text)
	}
}

// Source is a strategy with a name for logs.
type Source struct {
	Name string // what the operator wrote, but nothing of a command's arguments
	Strategy
}

// Split cuts text into addresses and strategies: at each comma, as long as these
// are addresses; what follows the name of a strategy belongs to it up to the
// next comma with such a name. A command goes on to the end.
func (List) Split(text string) []string {
	var items []string
	scheme := ""
	for part := range strings.SplitSeq(text, ",") {
		next, _ := cutScheme(part)
		switch {
		case scheme == "exec" || scheme != "" && next == "":
			items[len(items)-1] += "," + part
		default:
			items, scheme = append(items, part), next
		}
	}
	return items
}

// cutScheme returns the name of the strategy that text begins with, "" for none,
// and what follows it.
func cutScheme(text string) (scheme, rest string) {
	scheme, rest, found := strings.Cut(strings.TrimSpace(text), ":")
	if !found || !slices.Contains(schemes(), scheme) {
		return "", text
	}
	return scheme, rest
}

// Validate reports everything that is wrong with the list, each behind option,
// which is its own name, and with the interval at which it is asked.
func (l List) Validate(option string, interval time.Duration) error {
	_, err := l.Sources(option, 1)
	if interval < MinInterval {
		err = errors.Join(err, fmt.Errorf("discovery-interval: must be at least %s, got %s", MinInterval, interval))
	}
	return err
}

// Sources returns the strategies of the list. The error holds all that is wrong
// with it, one on a line, each behind option. port is for strategies that name
// none.
func (l List) Sources(option string, port uint16) ([]Source, error) {
	var (
		sources []Source
		static  Static
		errs    []error
	)
	for _, item := range l {
		scheme, rest := cutScheme(item)
		if scheme == "" {
			if err := checkAddress(item); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w, nor does it begin with %s", option, err, schemeNames()))
			}
			static = append(static, item)
			continue
		}
		for _, text := range texts(scheme, rest) {
			strategy, err := parse(scheme, text, port)
			for _, e := range each(err) {
				errs = append(errs, fmt.Errorf("%s: %s: %w", option, scheme, e))
			}
			sources = append(sources, Source{nameOf(scheme, text), strategy})
		}
	}
	if len(static) > 0 {
		sources = append(sources, Source{"static", static})
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return sources, nil
}

// LogValue implements [slog.LogValuer]: a command is shown without its arguments.
func (l List) LogValue() slog.Value {
	names := make([]string, 0, len(l))
	for _, item := range l {
		if scheme, rest := cutScheme(item); scheme != "" {
			item = nameOf(scheme, strings.TrimSpace(rest))
		}
		names = append(names, item)
	}
	return slog.AnyValue(names)
}

// texts are those of the strategies that one item names: each name of DNS is
// one, so that an answer for one is kept while another cannot be resolved.
func texts(scheme, rest string) []string {
	if scheme != "dns" {
		return []string{strings.TrimSpace(rest)}
	}
	names := strings.Split(rest, ",")
	for i := range names {
		names[i] = strings.TrimSpace(names[i])
	}
	return names
}

// nameOf is how a strategy is named in logs. A command's arguments may be
// secrets.
func nameOf(scheme, text string) string {
	if words := strings.Fields(text); scheme == "exec" && len(words) > 0 {
		text = words[0]
	}
	return scheme + ":" + text
}

func schemeNames() string { return strings.Join(schemes(), ":, ") + ":" }

// each returns the errors that were joined to err.
func each(err error) []error {
	if err == nil {
		return nil
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	return []error{err}
}

func parseStatic(text string) (Static, error) {
	var (
		static Static
		errs   []error
	)
	for item := range strings.SplitSeq(text, ",") {
		item = strings.TrimSpace(item)
		errs = append(errs, checkAddress(item))
		static = append(static, item)
	}
	return static, errors.Join(errs...)
}
