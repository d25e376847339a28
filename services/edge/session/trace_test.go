package session_test

import (
	"bytes"
	"sync"
	"testing"

	"github.com/skein-mesh/skein/pkg/namespace"
	"github.com/skein-mesh/skein/services/edge/session"
)

// tracer counts the ends of each span that was begun.
type tracer struct {
	t *testing.T

	mu   sync.Mutex // guards the fields below
	ends []int
}

// Begin implements [session.Tracer].
func (r *tracer) Begin(within []byte, topic, name string) ([]byte, func(error)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !bytes.Equal(within, []byte("socket")) || topic == "" {
		r.t.Errorf("%s about %q within %q", name, topic, within)
	}
	i := len(r.ends)
	r.ends = append(r.ends, 0)
	return []byte(name), func(error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.ends[i]++
	}
}

// Whatever becomes of joins and pushes to a handler, their spans end once.
func TestSpansEndOnce(t *testing.T) {
	for _, c := range handlerCases {
		t.Run(c.name, func(t *testing.T) {
			b, spans := &backend{}, &tracer{t: t}
			m := newMeshOf(t, session.DefaultLimits(), session.Deps{Backend: b, Tracer: spans}, namespace.Namespace{
				Topics: "room:*", Join: namespace.JoinHandler, Push: namespace.PushHandler, Handler: "passthrough:///app",
			})
			m.world = b.serve
			newStageOf(t, m, session.Client{Trace: []byte("socket")}).play(c.script)
			for i, n := range spans.ends {
				if n != 1 {
					t.Errorf("span %d ended %d times", i, n)
				}
			}
		})
	}
}
