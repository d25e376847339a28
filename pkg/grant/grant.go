// Package grant is what a client's token allows, once it was checked: whose it
// is, until when, and which topics may be joined with it.
package grant

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Why a token allows nothing. Clients see them as the reason of an error reply.
var (
	ErrMissing = errors.New("token required")
	ErrInvalid = errors.New("token invalid")
	ErrExpired = errors.New("token expired")
	ErrTopic   = errors.New("not allowed by token")
)

// maxExpires is the last second of the year 9999.
const maxExpires = 253402300799

// Grant is immutable.
type Grant struct {
	User    string    // claim sub
	Expires time.Time // claim exp; zero for never
	Claims  []byte    // the whole claim set as JSON text

	join, push []string // patterns; nil allows every topic
}

// Parse reads a claim set whose signature was checked. Beside the registered
// claims it knows "topics", patterns of the topics that may be joined, and
// "push", patterns of those that may be pushed to; without "push" the same, and
// without either all. A pattern is a topic or a prefix that ends with "*".
func Parse(claims []byte) (*Grant, error) {
	var c struct {
		Subject string       `json:"sub"`
		Expires *json.Number `json:"exp"`
		Topics  []string     `json:"topics"`
		Push    []string     `json:"push"`
	}
	if err := json.Unmarshal(claims, &c); err != nil {
		return nil, fmt.Errorf("%w: claims: %w", ErrInvalid, err)
	}
	g := &Grant{User: c.Subject, Claims: claims, join: c.Topics, push: c.Push}
	if c.Push == nil {
		g.push = c.Topics
	}
	if c.Expires != nil {
		seconds, err := c.Expires.Float64()
		if err != nil {
			return nil, fmt.Errorf("%w: exp: %w", ErrInvalid, err)
		}
		if seconds < 0 || seconds > maxExpires {
			return nil, fmt.Errorf("%w: exp: %s is no time", ErrInvalid, *c.Expires)
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
