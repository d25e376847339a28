package people

import (
	"testing"

	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
)

var arrivals uint64

func testRow(key, ref, prev, meta string) *row {
	arrivals++
	return &row{Person: &presencev1.Person{Key: key, Ref: ref, RefPrev: prev, Meta: meta}, came: arrivals}
}

func TestPayloads(t *testing.T) {
	u1, u2 := testRow("u", "r1", "", `{"d":1}`), testRow("u", "r2", "", `{}`)
	a := testRow("a", "r4", "r3", `{"d":2}`)
	quote, far := testRow("q\"\\\x01", "r5", "", `{}`), testRow("ü", "r6", "", `{}`)
	for _, c := range []struct{ got, want string }{
		{string(stateJSON(nil)), `{}`},
		{
			string(stateJSON([]*row{u2, a, u1})),
			`{"a":{"metas":[{"phx_ref":"r4","phx_ref_prev":"r3","d":2}]},"u":{"metas":[{"phx_ref":"r1","d":1},{"phx_ref":"r2"}]}}`,
		},
		{string(stateJSON([]*row{quote, far})), `{"q\"\\\u0001":{"metas":[{"phx_ref":"r5"}]},"ü":{"metas":[{"phx_ref":"r6"}]}}`},
		{string(diffJSON([]*row{u1}, nil)), `{"joins":{"u":{"metas":[{"phx_ref":"r1","d":1}]}},"leaves":{}}`},
		{string(diffJSON(nil, []*row{u2})), `{"joins":{},"leaves":{"u":{"metas":[{"phx_ref":"r2"}]}}}`},
		{string(countJSON(1200)), `{"count":1200}`},
	} {
		if c.got != c.want {
			t.Errorf("got\n%s\nwant\n%s", c.got, c.want)
		}
	}
}

// BenchmarkState encodes the state of a topic with a thousand people.
func BenchmarkState(b *testing.B) {
	var rows []*row
	for range 1000 {
		rows = append(rows, testRow("user-4711", "AAAAAAAAAAAAAAAA", "", `{"name":"Somebody","online_at":1700000000}`))
	}
	b.ReportAllocs()
	for b.Loop() {
		b.SetBytes(int64(len(stateJSON(rows))))
	}
}
