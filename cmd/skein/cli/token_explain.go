package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/skein-mesh/skein/pkg/grant"
	"github.com/skein-mesh/skein/pkg/token"
)

// maxToken bounds what explain reads from its standard input.
const maxToken = 64 << 10

func (a *app) tokenExplainCommand() *cobra.Command {
	rules := token.Default()
	rules.MaxBytes = maxToken
	cmd := &cobra.Command{
		Use:   "explain TOKEN",
		Short: "Show what a token says and allows, and whether its signature is good",
		Long: "Shows what a token says and allows; \"-\" reads it from standard input. No key is needed for\n" +
			"that. With --key or --jwks the token is checked as edges do it, and one that is no good\n" +
			"makes the command fail.",
		Example: "  skein token explain \"$TOKEN\"\n" +
			"  skein token explain \"$TOKEN\" --key es256.pem.pub\n" +
			"  skein token explain - --jwks https://auth.example.com/.well-known/jwks.json <token",
		Args: exactly("TOKEN"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := rules.Validate(); err != nil {
				return usageError{cmd.CommandPath(), err}
			}
			return a.tokenExplain(cmd.Context(), rules, args[0])
		},
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&rules.Keys, "key", nil, "files of keys to check it with")
	flags.StringVar(&rules.JWKS, "jwks", "", "URL of a JWKS to check it with")
	flags.StringVar(&rules.Issuer, "iss", "", "who must have issued it")
	flags.StringSliceVar(&rules.Audience, "aud", nil, "whom it must be for")
	flags.DurationVar(&rules.Leeway, "leeway", rules.Leeway, "by how much clocks may differ")
	return cmd
}

// errBadToken is the failure of explain; what is wrong was printed.
var errBadToken = errors.New("the token is no good")

func (a *app) tokenExplain(ctx context.Context, rules token.Config, text string) error {
	if text == "-" {
		read, err := io.ReadAll(io.LimitReader(a.Stdin, maxToken+1))
		if err != nil {
			return fmt.Errorf("read the token: %w", err)
		}
		text = string(read)
	}
	text = strings.TrimSpace(text)
	contents, err := token.Inspect(text)
	if err != nil {
		return fmt.Errorf("not a token: %w", err)
	}
	e := explain(contents, time.Now())
	if rules.Enabled() {
		ctx, cancel := a.question(ctx)
		defer cancel()
		_, err := token.Check(ctx, rules, text)
		if err != nil && !errors.Is(err, grant.ErrInvalid) && !errors.Is(err, grant.ErrExpired) {
			return fmt.Errorf("read the keys: %w", err)
		}
		e.check(err)
	}
	if a.common.json() {
		err = printJSON(a.Stdout, e)
	} else {
		printExplanation(a.Stdout, contents, e)
	}
	if err == nil && e.Verified != nil && !*e.Verified {
		return errBadToken
	}
	return err
}

// explanation is what explain found out.
type explanation struct {
	Header   json.RawMessage `json:"header"`
	Claims   json.RawMessage `json:"claims"`
	User     string          `json:"user"`
	Expires  *time.Time      `json:"expires_at"` // nil for never
	Expired  bool            `json:"expired"`
	MayJoin  []string        `json:"may_join"` // nil for every topic
	MayPush  []string        `json:"may_push"` // nil for every topic
	Verified *bool           `json:"verified"` // nil if there was no key
	Reason   string          `json:"reason,omitempty"`

	now time.Time
}

func explain(c token.Contents, now time.Time) *explanation {
	e := &explanation{Header: c.Header, Claims: c.Claims, MayJoin: []string{}, MayPush: []string{}, now: now}
	g, err := grant.Parse(c.Claims)
	if err != nil {
		e.Reason = err.Error()
		return e
	}
	e.User, e.Expired = g.User, g.Expired(now)
	e.MayJoin, e.MayPush = g.Patterns()
	if !g.Expires.IsZero() {
		at := g.Expires.UTC()
		e.Expires = &at
	}
	return e
}

// check adds the result of a check.
func (e *explanation) check(err error) {
	good := err == nil
	e.Verified = &good
	if err != nil {
		e.Reason = err.Error()
	}
}

func printExplanation(w io.Writer, c token.Contents, e *explanation) {
	fmt.Fprintln(w, "Header")
	printMembers(w, c.Header, e.now)
	fmt.Fprintln(w, "\nClaims")
	printMembers(w, c.Claims, e.now)
	fmt.Fprintln(w)
	if e.Verified != nil || e.Reason == "" {
		fmt.Fprintf(w, "User       %s\n", orWord(e.User, "nobody: there is no claim sub"))
		fmt.Fprintf(w, "May join   %s\n", patterns(e.MayJoin))
		fmt.Fprintf(w, "May push   %s\n", patterns(e.MayPush))
		fmt.Fprintf(w, "Good       %s\n", e.lifetime())
	}
	switch {
	case e.Verified == nil && e.Reason != "":
		fmt.Fprintf(w, "Verified   no key was given, but no edge takes it: %s\n", printable(e.Reason))
	case e.Verified == nil:
		fmt.Fprintln(w, "Verified   no key was given: name one with --key FILE or --jwks URL")
	case *e.Verified:
		fmt.Fprintln(w, "Verified   yes")
	default:
		fmt.Fprintf(w, "Verified   no: %s\n", printable(e.Reason))
	}
}

// lifetime says until when a token is good, without the leeway of edges.
func (e *explanation) lifetime() string {
	switch {
	case e.Expires == nil:
		return "for ever: there is no claim exp"
	case e.Expired:
		return fmt.Sprintf("no more: it expired %s ago", span(e.now.Sub(*e.Expires)))
	}
	return "for another " + span(e.Expires.Sub(e.now))
}

func orWord(s, word string) string {
	if s == "" {
		return word
	}
	return printable(s)
}

func patterns(list []string) string {
	switch {
	case list == nil:
		return "every topic"
	case len(list) == 0:
		return "no topic"
	}
	return printable(strings.Join(list, ", "))
}

// printMembers prints the members of a JSON object, those that everybody knows
// first, with times in words.
func printMembers(w io.Writer, object json.RawMessage, now time.Time) {
	var members map[string]json.RawMessage
	if json.Unmarshal(object, &members) != nil {
		return // was read before
	}
	known := []string{"alg", "typ", "kid", "iss", "sub", "aud", "exp", "nbf", "iat", "jti", "topics", "push"}
	names := slices.SortedFunc(maps.Keys(members), func(a, b string) int {
		i, j := slices.Index(known, a), slices.Index(known, b)
		if i >= 0 && j >= 0 {
			return i - j
		}
		if i >= 0 || j >= 0 {
			return j - i // the one that is known is not -1
		}
		return strings.Compare(a, b)
	})
	width := 8
	for _, name := range names {
		width = max(width, len(printable(name)))
	}
	for _, name := range names {
		var value bytes.Buffer
		if json.Compact(&value, members[name]) != nil {
			continue
		}
		fmt.Fprintf(w, "  %-*s %s%s\n", width, printable(name), printable(value.String()), inWords(name, members[name], now))
	}
}

// inWords is the time that a claim means, if it is one.
func inWords(name string, value json.RawMessage, now time.Time) string {
	if name != "exp" && name != "nbf" && name != "iat" {
		return ""
	}
	g, err := grant.Parse(fmt.Appendf(nil, `{"exp":%s}`, value))
	if err != nil || g.Expires.IsZero() {
		return ""
	}
	at := g.Expires.UTC()
	when := "now"
	if d := at.Sub(now.Truncate(time.Second)); d > 0 {
		when = "in " + span(d)
	} else if d < 0 {
		when = span(-d) + " ago"
	}
	return fmt.Sprintf("  (%s, %s)", at.Format(time.RFC3339), when)
}
