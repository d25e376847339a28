package longpoll

import (
	"context"
	"net/http"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/skein-mesh/skein/pkg/bubble"
)

// Whatever polls do (wait, replace each other, go away), a client that reads
// every answer gets each message once and in order.
func TestNothingIsLostDoubledOrReordered(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		steps := rapid.SliceOfN(rapid.SampledFrom([]string{"send", "poll", "leave", "cancelled", "wait"}), 1, 40).Draw(r, "steps")
		bubble.Test(t, func(t *testing.T) {
			e := start(t, "e1", nil)
			token, c := e.open()
			w := &walk{t: t, edge: e, token: token, client: c, answers: make(chan answer, len(steps))}
			for _, step := range steps {
				w.step(step)
			}
			w.finish()
			e.end()
		})
	})
}

// walk is one client that polls as the property says.
type walk struct {
	t       *testing.T
	edge    *edge
	token   string
	client  *client
	answers chan answer
	pending int // answers to come
	last    context.CancelFunc
	sent    int
	got     []string
}

func (w *walk) step(name string) {
	switch name {
	case "send":
		w.client.send(strconv.Itoa(w.sent))
		w.sent++
	case "poll", "cancelled":
		ctx, cancel := context.WithCancel(w.t.Context())
		w.last = cancel
		if name == "cancelled" {
			cancel()
		}
		w.pending++
		go func() { w.answers <- w.edge.do(ctx, http.MethodGet, "vsn=2.0.0&token="+w.token, "") }()
	case "leave": // before anything came
		if w.last != nil {
			w.last()
		}
	case "wait":
		time.Sleep(100 * time.Millisecond) // virtual time
	}
	synctest.Wait()
	w.collect()
}

// collect takes the answers there are, which came one after the other.
func (w *walk) collect() {
	for {
		select {
		case a := <-w.answers:
			w.pending--
			w.got = append(w.got, a.Messages...)
		default:
			return
		}
	}
}

func (w *walk) finish() {
	for range 2 {
		w.step("poll")
		for w.pending > 0 {
			w.step("wait")
		}
	}
	if len(w.got) != w.sent {
		w.t.Errorf("sent %d, got %q", w.sent, w.got)
	}
	for i, m := range w.got {
		if m != strconv.Itoa(i) {
			w.t.Errorf("message %d is %s", i, m)
		}
	}
}
