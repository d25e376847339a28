package admit

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/skein-mesh/skein/services/edge/handshake"
)

// filtered stands for a value that must not reach a log.
const filtered = "[FILTERED]"

// Bounds of what a client can put into one line of a log.
const (
	maxLoggedParams = 20
	maxLoggedValue  = 100 // runes
)

// logged is what of a request may be in a log. It costs nothing unless it is
// logged.
func (g *Gate) logged(r *handshake.Request) slog.LogValuer { return loggedRequest{g, r} }

type loggedRequest struct {
	gate    *Gate
	request *handshake.Request
}

// LogValue implements [slog.LogValuer].
func (l loggedRequest) LogValue() slog.Value {
	return slog.GroupValue(
		slog.String("mount", l.gate.deps.Mount),
		slog.String("transport", string(l.request.Transport)),
		slog.String("remote", l.request.Remote.String()),
		slog.String("params", l.gate.params(l.request.Params)),
	)
}

// params are the names and values of params, without those that are secret.
func (g *Gate) params(all url.Values) string {
	names := make([]string, 0, len(all))
	for name := range all {
		names = append(names, name)
	}
	slices.Sort(names)
	var words []string
	for i, name := range names {
		if i == maxLoggedParams {
			words = append(words, fmt.Sprintf("and %d more", len(names)-i))
			break
		}
		value := filtered
		if !g.secret(name) {
			value = fmt.Sprintf("%.*q", maxLoggedValue, all.Get(name))
		}
		words = append(words, fmt.Sprintf("%.*q: %s", maxLoggedValue, name, value))
	}
	return strings.Join(words, ", ")
}

// secret reports whether the values of a param must not be logged.
func (g *Gate) secret(name string) bool {
	lower := strings.ToLower(name)
	return name == g.config.TokenParam || slices.ContainsFunc(g.config.FilterParams, func(word string) bool {
		return strings.Contains(lower, strings.ToLower(word))
	})
}

// logRefusal logs why a request was refused, not more often than once a second.
func (g *Gate) logRefusal(ctx context.Context, r *handshake.Request, v verdict) {
	pass, held := g.refusal.pass(time.Now())
	if !pass {
		return
	}
	args := []any{"reason", v.outcome.String(), "status", v.refusal.Status, "request", g.logged(r), "not_logged", held}
	if v.detail != nil {
		args = append(args, "detail", v.detail.Error())
	}
	g.deps.Log.InfoContext(ctx, "socket refused", args...)
}

// throttle lets one through each second.
type throttle struct {
	mu   sync.Mutex // guards the fields below
	next time.Time
	held int
}

// pass reports whether one may pass now, and how many were held since the last
// that did.
func (t *throttle) pass(now time.Time) (pass bool, held int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if now.Before(t.next) {
		t.held++
		return false, 0
	}
	held, t.held, t.next = t.held, 0, now.Add(time.Second)
	return true, held
}
