package hub_test

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/klauspost/compress/flate"

	"github.com/skein-mesh/skein/pkg/channel"
	"github.com/skein-mesh/skein/pkg/phx"
	"github.com/skein-mesh/skein/pkg/wsframe"
	"github.com/skein-mesh/skein/services/edge/hub"
)

// reader wants its frames in a format.
type reader struct {
	hub.Seat

	format hub.Format
	frame  wsframe.Frame
	fits   bool
}

func (*reader) Joined(error) bool        { return true }
func (*reader) Failed()                  {}
func (r *reader) Deliver(m *hub.Message) { r.frame, r.fits = m.Frame(r.format) }

// deliverTo hands b to two readers of each format and returns them, with the
// first of each format in front.
func deliverTo(t *testing.T, b channel.Broadcast) (first, second map[hub.Format]*reader) {
	t.Helper()
	h, _ := newHub(t)
	first, second = map[hub.Format]*reader{}, map[hub.Format]*reader{}
	for v := range phx.Versions {
		for _, deflate := range []bool{true, false} {
			f := hub.Format{Version: v, Deflate: deflate}
			first[f], second[f] = &reader{format: f}, &reader{format: f}
			h.Join(b.Topic, first[f], nil)
			h.Join(b.Topic, second[f], nil)
		}
	}
	h.Confirm(b.Topic, nil)
	h.Deliver(b)
	return first, second
}

// Each format is encoded once for all its subscribers, and says the same.
func TestFormats(t *testing.T) {
	payload := `{"body":"` + strings.Repeat("x", 2*wsframe.DeflateMin) + `"}`
	first, second := deliverTo(t, channel.Broadcast{Topic: "t", Event: "e", Payload: []byte(payload)})
	for f, r := range first {
		if !r.fits || &r.frame.Wire()[0] != &second[f].frame.Wire()[0] {
			t.Errorf("%+v: no frame, or not one for both", f)
			continue
		}
		want := `[null,null,"t","e",` + payload + `]`
		if f.Version == phx.V1 {
			want = `{"topic":"t","event":"e","payload":` + payload + `,"ref":null}`
		}
		got := string(r.frame.Payload())
		if f.Deflate {
			if got == want {
				t.Errorf("%+v: not compressed", f)
			}
			got = inflate(t, r.frame.Payload())
		}
		if got != want {
			t.Errorf("%+v: got %s", f, got)
		}
	}
}

func inflate(t *testing.T, data []byte) string {
	t.Helper()
	tail := strings.NewReader("\x00\x00\xff\xff\x01\x00\x00\xff\xff")
	text, err := io.ReadAll(flate.NewReader(io.MultiReader(bytes.NewReader(data), tail)))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestSmallFramesAreNotCompressed(t *testing.T) {
	first, _ := deliverTo(t, broadcast())
	for f, r := range first {
		if plain := first[hub.Format{Version: f.Version}]; string(r.frame.Payload()) != string(plain.frame.Payload()) {
			t.Errorf("%+v: got %q", f, r.frame.Payload())
		}
	}
}

// Opaque bytes have no frame in V1, whoever asks first.
func TestUnfit(t *testing.T) {
	first, second := deliverTo(t, channel.Broadcast{Topic: "t", Event: "e", Payload: []byte("\xff"), Binary: true})
	for f, r := range first {
		if want := f.Version != phx.V1; r.fits != want || second[f].fits != want {
			t.Errorf("%+v: fits: %v and %v, want %v", f, r.fits, second[f].fits, want)
		}
	}
}
