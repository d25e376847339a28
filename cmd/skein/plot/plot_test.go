package plot

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
)

// texts are what an SVG picture says.
func texts(t *testing.T, picture []byte) string {
	t.Helper()
	var all []string
	for decoder := xml.NewDecoder(bytes.NewReader(picture)); ; {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			return strings.Join(all, "\n")
		}
		if err != nil {
			t.Fatal(err)
		}
		if text, ok := token.(xml.CharData); ok {
			all = append(all, strings.TrimSpace(string(text)))
		}
	}
}

func picture(lines, marks int) *Picture {
	p := &Picture{Title: "a title", X: "seconds", Y: "connections"}
	for i := range lines {
		p.Lines = append(p.Lines, Line{Name: "edge-" + string(rune('a'+i)), Points: []Point{{0, float64(i)}, {100, 20_000}}})
	}
	for i := range marks {
		p.Marks = append(p.Marks, Mark{X: float64(10 * i), Text: "<mark> " + string(rune('a'+i))})
	}
	return p
}

func TestAPictureSaysWhatItShows(t *testing.T) {
	var b bytes.Buffer
	if err := picture(2, 1).SVG(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"a title", "seconds", "connections", "edge-a", "edge-b", "<mark> a", "20000"} {
		if got := texts(t, b.Bytes()); !strings.Contains(got, want) {
			t.Errorf("no %q in %s", want, got)
		}
	}
}

func TestWhatWouldHideTheLinesIsLeftOut(t *testing.T) {
	var b bytes.Buffer
	if err := picture(inLegend+1, inText+1).SVG(&b); err != nil {
		t.Fatal(err)
	}
	if got := texts(t, b.Bytes()); strings.Contains(got, "edge-a") || strings.Contains(got, "mark") {
		t.Errorf("legend or marks are there: %s", got)
	}
}

func TestAPictureWithoutLines(t *testing.T) {
	if err := (&Picture{}).SVG(io.Discard); err == nil {
		t.Error("no error")
	}
	if err := picture(1, 0).SVG(broken{}); err == nil {
		t.Error("no error for a writer that fails")
	}
}

type broken struct{}

// Write implements [io.Writer].
func (broken) Write([]byte) (int, error) { return 0, errors.New("full") }

func TestTicksAreRoundAndFew(t *testing.T) {
	for _, c := range []struct {
		least, most float64
		first, last string
	}{{0, 11_500, "0", "10000"}, {0, 0.4, "0", "0.4"}, {3, 47, "10", "40"}, {0, 1, "0", "1"}, {0, 395, "0", "300"}} {
		ticks := round{}.Ticks(c.least, c.most)
		if n := len(ticks); n < 3 || n > 7 || ticks[0].Label != c.first || ticks[n-1].Label != c.last {
			t.Errorf("from %v to %v: %+v", c.least, c.most, ticks)
		}
	}
	if ticks := (round{}).Ticks(5, 5); len(ticks) > 0 {
		t.Errorf("of nothing: %+v", ticks)
	}
}
