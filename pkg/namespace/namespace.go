// Package namespace says what the topics below a prefix are: who may join them,
// what becomes of a push, which backend decides, and who is seen to be online.
package namespace

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Join says who may join a topic.
type Join string

// The ways to join.
const (
	JoinOpen    Join = "open"    // everybody
	JoinToken   Join = "token"   // who has a token that allows it
	JoinHandler Join = "handler" // whom the handler lets in
)

// Push says what becomes of an event that a client pushes.
type Push string

// The ways of a push.
const (
	PushRelay     Push = "relay"      // broadcast to the topic, the sender included, then reply ok
	PushRelayFrom Push = "relay_from" // the same without the sender
	PushDeny      Push = "deny"       // reply an error
	PushHandler   Push = "handler"    // ask the handler
)

// Dialect names a protocol that is spoken on top of Phoenix Channels.
type Dialect string

// The dialects.
const (
	DialectPhoenix  Dialect = ""         // none
	DialectSupabase Dialect = "supabase" // broadcast and presence as Supabase's realtime-js does them
)

// Namespace is one kind of topics.
type Namespace struct {
	Topics   string        `conf:"topics" usage:"the topics it is about: an exact name, a prefix such as room:*, or * for all"`
	Join     Join          `conf:"join" usage:"who may join: open, token or handler"`
	Push     Push          `conf:"push" usage:"what becomes of a push: relay, relay_from (without the sender), deny or handler"`
	Handler  string        `conf:"handler" usage:"gRPC target of the backend that decides, such as dns:///chat:50051"`
	Timeout  time.Duration `conf:"timeout" usage:"how long the handler may take for an answer"`
	Dialect  Dialect       `conf:"dialect" usage:"supabase for clients of Supabase's realtime-js; empty for stock Phoenix"`
	Presence Presence      `conf:"presence"`
}

// Presence says who is seen to be online in a topic.
type Presence struct {
	Key       string   `conf:"key" usage:"who a channel is: claims.NAME of its token, params.NAME of its join, or handler; empty for nobody"`
	Meta      []string `conf:"meta" usage:"what is told of it: names of join params, NAME.* for the members of one, online_at for the time in seconds"`
	MaxListed int      `conf:"max-listed" usage:"most people of a topic that are listed; above it clients get counts only"`
}

// Enabled reports whether topics have a list of people.
func (p Presence) Enabled() bool { return p.Key != "" }

// Where a presence key comes from.
const (
	KeyHandler = "handler"
	KeyClaims  = "claims."
	KeyParams  = "params."
)

// Defaults of a namespace that does not say otherwise.
const (
	DefaultTimeout   = 5 * time.Second
	DefaultMaxListed = 1000
)

// SetDefaults fills what is empty.
func (n *Namespace) SetDefaults() {
	n.Join = cmp.Or(n.Join, JoinOpen)
	n.Push = cmp.Or(n.Push, PushRelay)
	n.Timeout = cmp.Or(n.Timeout, DefaultTimeout)
	n.Presence.MaxListed = cmp.Or(n.Presence.MaxListed, DefaultMaxListed)
}

// AsksHandler reports whether a backend decides anything of n.
func (n *Namespace) AsksHandler() bool { return n.Handler != "" }

// Match reports whether a topic belongs to n.
func (n *Namespace) Match(topic string) bool {
	if prefix, ok := strings.CutSuffix(n.Topics, "*"); ok {
		return strings.HasPrefix(topic, prefix)
	}
	return topic == n.Topics
}

// Validate reports everything that is wrong with n.
func (n *Namespace) Validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf("namespace %q: "+format, append([]any{n.Topics}, args...)...))
		}
	}
	check(n.Topics != "", "topics: an exact name, a prefix such as room:*, or * is required")
	check(!strings.Contains(strings.TrimSuffix(n.Topics, "*"), "*"), "topics: * may only stand at the end")
	check(slices.Contains([]Join{JoinOpen, JoinToken, JoinHandler}, n.Join), "join: %q is none of open, token and handler", n.Join)
	check(slices.Contains([]Push{PushRelay, PushRelayFrom, PushDeny, PushHandler}, n.Push),
		"push: %q is none of relay, relay_from, deny and handler", n.Push)
	check(n.Dialect == DialectPhoenix || n.Dialect == DialectSupabase, "dialect: %q is not supabase", n.Dialect)
	needs := n.Join == JoinHandler || n.Push == PushHandler || n.Presence.Key == KeyHandler
	check(!needs || n.Handler != "", "handler: a gRPC target is required, since join, push or presence ask it")
	check(needs || n.Handler == "", "handler: nothing asks it: set join or push to handler")
	check(n.Timeout > 0, "timeout: must be positive, got %s", n.Timeout)
	n.Presence.validate(check)
	return errors.Join(errs...)
}

func (p Presence) validate(check func(ok bool, format string, args ...any)) {
	name, claims := strings.CutPrefix(p.Key, KeyClaims)
	if !claims {
		name, _ = strings.CutPrefix(p.Key, KeyParams)
	}
	known := p.Key == "" || p.Key == KeyHandler || name != p.Key && name != ""
	check(known, "presence.key: %q is none of claims.NAME, params.NAME and handler", p.Key)
	check(p.MaxListed > 0, "presence.max_listed: must be positive, got %d", p.MaxListed)
}

// Set finds the namespace of a topic. It is immutable: any number of goroutines
// may use it.
type Set struct {
	exact    map[string]*Namespace
	prefixes []*Namespace // longest first
}

// Default is what topics are without any configuration: open, relayed, with
// people in those named "presence:*".
func Default() []Namespace {
	people := Namespace{Topics: "presence:*", Presence: Presence{Key: KeyParams + "user_id", Meta: []string{"meta.*", "online_at"}}}
	all := Namespace{Topics: "*"}
	people.SetDefaults()
	all.SetDefaults()
	return []Namespace{people, all}
}

// NewSet returns the set of namespaces that must be valid each.
func NewSet(all []Namespace) (*Set, error) {
	s := &Set{exact: map[string]*Namespace{}}
	seen := map[string]bool{}
	for _, n := range all {
		if seen[n.Topics] {
			return nil, twice(n.Topics)
		}
		seen[n.Topics] = true
		if strings.HasSuffix(n.Topics, "*") {
			s.prefixes = append(s.prefixes, &n)
		} else {
			s.exact[n.Topics] = &n
		}
	}
	slices.SortStableFunc(s.prefixes, func(a, b *Namespace) int { return cmp.Compare(len(b.Topics), len(a.Topics)) })
	return s, nil
}

// Of returns the namespace of a topic: an exact name beats a prefix, and a
// longer prefix a shorter one. It is nil if no namespace has it; such a topic
// cannot be joined.
func (s *Set) Of(topic string) *Namespace {
	if n := s.exact[topic]; n != nil {
		return n
	}
	for _, n := range s.prefixes {
		if n.Match(topic) {
			return n
		}
	}
	return nil
}

// All yields every namespace, exact names first.
func (s *Set) All() []*Namespace {
	all := make([]*Namespace, 0, len(s.exact)+len(s.prefixes))
	for _, n := range s.exact {
		all = append(all, n)
	}
	slices.SortFunc(all, func(a, b *Namespace) int { return strings.Compare(a.Topics, b.Topics) })
	return append(all, s.prefixes...)
}
