//go:build e2e

package e2e

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/skein-mesh/skein/tests/wsclient"
)

// conversation is what a client sends and what must come back, in this order;
// frames are compared as JSON. Their names are those of docs/compatibility.md's
// reference recordings where such a recording exists.
type conversation struct {
	name  string
	steps []step
}

type step struct {
	send string
	want []string
}

// TestConversations holds frames against those of Phoenix, topic by topic of a
// real edge. What an application of Phoenix would decide is relayed here.
func TestConversations(t *testing.T) {
	f := startFleet(t)
	for _, c := range conversations() {
		t.Run(c.name, func(t *testing.T) {
			w := dial(t, f.edges[0].listen)
			_ = w.SetDeadline(time.Now().Add(15 * time.Second))
			// A heartbeat closes each step, so that frames too many are seen, too.
			fence := `[null,"fence","phoenix","heartbeat",{}]`
			for _, s := range c.steps {
				if err := w.Text(s.send); err != nil {
					t.Fatal(err)
				}
				expect(t, w, s.want)
			}
			if err := w.Text(fence); err != nil {
				t.Fatal(err)
			}
			expect(t, w, []string{`[null,"fence","phoenix","phx_reply",{"status":"ok","response":{}}]`})
		})
	}
}

func expect(t *testing.T, w *wsclient.Conn, want []string) {
	t.Helper()
	for _, text := range want {
		op, data, err := w.Read()
		if err != nil {
			t.Fatalf("%v instead of %s", err, text)
		}
		var got, wanted any
		if err := json.Unmarshal(data, &got); err != nil || op != wsclient.Text {
			t.Fatalf("opcode %d, %q instead of %s", op, data, text)
		}
		if err := json.Unmarshal([]byte(text), &wanted); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, wanted) {
			t.Fatalf("got  %s\nwant %s", data, text)
		}
	}
}

const (
	joined    = `["1","1","room:c","phx_reply",{"status":"ok","response":{}}]`
	join      = `["1","1","room:c","phx_join",{}]`
	unmatched = `{"status":"error","response":{"reason":"unmatched topic"}}`
	fine      = `{"status":"ok","response":{}}`
	crash     = `["1","1","room:c","phx_error",{"reason":"channel_crash"}]`
)

func conversations() []conversation {
	return []conversation{
		{"W001 join", []step{{join, []string{joined}}}},
		{"W004 join_ref is not ref", []step{
			{`["7","9","room:c","phx_join",{}]`, []string{`["7","9","room:c","phx_reply",` + fine + `]`}},
			{`["7","10","room:c","e",{"a":1}]`, []string{`[null,null,"room:c","e",{"a":1}]`, `["7","10","room:c","phx_reply",` + fine + `]`}},
		}},
		{"W005 join_ref null", []step{
			{`[null,"9","room:c","phx_join",{}]`, []string{`[null,"9","room:c","phx_reply",` + fine + `]`}},
			{`[null,"10","room:c","e",{}]`, []string{`[null,null,"room:c","e",{}]`, `["9","10","room:c","phx_reply",` + fine + `]`}},
			{`["9","11","room:c","e",{}]`, nil},
			{`[null,"13","room:c","phx_leave",{}]`, []string{`["9","13","room:c","phx_reply",` + fine + `]`, `[null,null,"room:c","phx_close",{}]`}},
		}},
		{"W014 join of the empty topic", []step{{`["4","4","","phx_join",{}]`, []string{`[null,"4","","phx_reply",` + unmatched + `]`}}}},
		{"W020 second join", []step{
			{join, []string{joined}},
			{`["5","5","room:c","phx_join",{}]`, []string{`["5","5","room:c","phx_reply",` + fine + `]`, `["1","1","room:c","phx_close",{}]`}},
			{`["1","7","room:c","e",{"n":2}]`, nil},
			{`["5","8","room:c","e",{"n":1}]`, []string{`[null,null,"room:c","e",{"n":1}]`, `["5","8","room:c","phx_reply",` + fine + `]`}},
		}},
		{"W025 leave", []step{
			{join, []string{joined}},
			{`["1","2","room:c","phx_leave",{}]`, []string{`["1","2","room:c","phx_reply",` + fine + `]`, `["1","1","room:c","phx_close",{}]`}},
			{`["1","3","room:c","e",{}]`, []string{`[null,"3","room:c","phx_reply",` + unmatched + `]`}},
		}},
		{"W026 leave without join", []step{{`["1","2","room:c","phx_leave",{}]`, []string{`["1","2","room:c","phx_reply",` + fine + `]`}}}},
		{"W028 leave with a stale join_ref", []step{
			{`["5","5","room:c","phx_join",{}]`, []string{`["5","5","room:c","phx_reply",` + fine + `]`}},
			{`["1","6","room:c","phx_leave",{}]`, nil},
			{`["5","7","room:c","e",{}]`, []string{`[null,null,"room:c","e",{}]`, `["5","7","room:c","phx_reply",` + fine + `]`}},
		}},
		{"W034 heartbeat with null ref", []step{{`[null,null,"phoenix","heartbeat",{}]`, []string{`[null,null,"phoenix","phx_reply",` + fine + `]`}}}},
		{"W035 heartbeat with a number", []step{{`["x",42,"phoenix","heartbeat",{}]`, []string{`[null,42,"phoenix","phx_reply",` + fine + `]`}}}},
		{"W036 other event on phoenix", []step{{`[null,"1","phoenix","e",{}]`, []string{`[null,"1","phoenix","phx_reply",` + unmatched + `]`}}}},
		{"W037 heartbeat elsewhere", []step{{`[null,"10","room:c","heartbeat",{}]`, []string{`[null,"10","room:c","phx_reply",` + unmatched + `]`}}}},
		{"W046 push with null ref", []step{
			{join, []string{joined}},
			{`["1",null,"room:c","e",{}]`, []string{`[null,null,"room:c","e",{}]`, `["1",null,"room:c","phx_reply",` + fine + `]`}},
		}},
		{"W047 numbers as refs", []step{
			{`[1,1,"room:c","phx_join",{}]`, []string{`[1,1,"room:c","phx_reply",` + fine + `]`}},
			{`[1,2,"room:c","e",{}]`, []string{`[null,null,"room:c","e",{}]`, `[1,2,"room:c","phx_reply",` + fine + `]`}},
			{`["1","3","room:c","e",{}]`, nil},
		}},
		{"W049 push without join", []step{{`["1","2","nope:1","e",{}]`, []string{`[null,"2","nope:1","phx_reply",` + unmatched + `]`}}}},
		{"W053 payload that is no object", []step{
			{join, []string{joined}},
			{`["1","2","room:c","e","str"]`, []string{crash}},
			{`["1","3","room:c","e",{}]`, []string{`[null,"3","room:c","phx_reply",` + unmatched + `]`}},
			{join, []string{joined}},
		}},
		{"W061 events of the protocol", []step{
			{join, []string{joined}},
			{`["1","2","room:c","phx_reply",{}]`, []string{crash}},
			{`["3","3","room:c","phx_join",{}]`, []string{`["3","3","room:c","phx_reply",` + fine + `]`}},
			{`["3","4","room:c","phx_close",{}]`, []string{`["3","3","room:c","phx_error",{"reason":"channel_crash"}]`}},
		}},
		{"W096 escapes and big numbers", []step{
			{join, []string{joined}},
			{
				`["1","2","room:c","e",{"a":"\u00e9\ud83d\ude00\u0000</script>","b":123456789012345678901234567890}]`,
				[]string{`[null,null,"room:c","e",{"a":"é😀\u0000</script>","b":123456789012345678901234567890}]`, `["1","2","room:c","phx_reply",` + fine + `]`},
			},
		}},
		{"W100 more elements than five", []step{{`["1","1","room:c","phx_join",{},"extra"]`, []string{joined}}}},
		{"W101 topic is a number", []step{{`["1","1",5,"phx_join",{}]`, []string{`[null,"1",5,"phx_reply",` + unmatched + `]`}}}},
		{"W103 event is a number", []step{{join, []string{joined}}, {`["1","2","room:c",5,{}]`, []string{crash}}}},
		{"W104 event is null", []step{{`["1","2","room:c",null,{}]`, []string{`[null,"2","room:c","phx_reply",` + unmatched + `]`}}}},
	}
}
