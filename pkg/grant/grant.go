// Package grant is what a client's token allows, once it was checked: whose it
// is, until when, and which topics may be joined with it.
package grant

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Why a token allows nothing. Clients see them as the reason of an error reply.
var (
	ErrMissing = errors.New("token required")
	ErrInvalid = errors.New("token invalid")
	ErrExpired = errors.New("token expired")
	ErrTopic   = errors.New("not allowed by token")

	// ErrUnavailable means that the key of the token could not be looked up. The
	// token may be good: try again.
	ErrUnavailable = errors.New("unavailable")
)

// Bounds of a time in a claim, in seconds since 1970: the years 1 to 9999, which
// is what other formats can say too. A number above is likely in milliseconds.
const (
	minSeconds = -62_135_596_800
	maxSeconds = 253_402_300_799
)

// Grant is immutable.
type Grant struct {
	User    string    // claim sub
	Expires time.Time // claim exp, and the leeway of whoever checked the token; zero for never
	Claims  []byte    // the whole claim set as JSON text

	join, push []string // patterns; nil allows every topic
}

// Parse reads a claim set whose signature was checked; it keeps claims. Beside
// the registered claims it knows "topics", patterns of the topics that may be
// joined, and "push", patterns of those that may be pushed to; without "push"
// the same, and without either all. A pattern is a topic or a prefix that ends
// with "*". Every error is an [ErrInvalid].
func Parse(claims []byte) (*Grant, error) {
	var c *struct {
		Subject string       `json:"sub"`
		Expires *json.Number `json:"exp"`
		Topics  []string     `json:"topics"`
		Push    []string     `json:"push"`
	}
	if err := json.Unmarshal(claims, &c); err != nil {
		return nil, fmt.Errorf("%w: claims: %w", ErrInvalid, err)
	}
	if c == nil || !utf8.Valid(claims) {
		return nil, fmt.Errorf("%w: claims: must be a JSON object in UTF-8", ErrInvalid)
	}
	g := &Grant{User: c.Subject, Claims: claims, join: c.Topics, push: c.Push}
	if c.Push == nil {
		g.push = c.Topics
	}
	if c.Expires != nil {
		seconds, err := c.Expires.Float64()
		if err != nil || seconds < minSeconds || seconds > maxSeconds {
			return nil, fmt.Errorf("%w: exp: %s is no time in seconds since 1970", ErrInvalid, *c.Expires)
		}
		g.Expires = time.Unix(int64(seconds), 0)
	}
	return g, nil
}

// Expired reports whether the grant is over at that time.
func (g *Grant) Expired(now time.Time) bool { return !g.Expires.IsZero() && !now.Before(g.Expires) }

// MayJoin reports whether the topic may be joined.
func (g *Grant) MayJoin(topic string) bool { return allows(g.join, topic) }

// MayPush reports whether the topic may be pushed to.
func (g *Grant) MayPush(topic string) bool { return allows(g.push, topic) }

// Patterns returns copies of the patterns of topics that may be joined and that
// may be pushed to. One that is nil allows every topic, one that is empty none.
func (g *Grant) Patterns() (join, push []string) { return slices.Clone(g.join), slices.Clone(g.push) }

func allows(patterns []string, topic string) bool {
	if patterns == nil {
		return true
	}
	for _, p := range patterns {
		if prefix, ok := strings.CutSuffix(p, "*"); p == topic || ok && strings.HasPrefix(topic, prefix) {
			return true
		}
	}
	return false
}
