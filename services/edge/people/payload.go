package people

import (
	"cmp"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
)

// Events that clients get.
const (
	EventState = "presence_state"
	EventDiff  = "presence_diff"
	EventCount = "presence_count"
)

// stateJSON is the payload of a presence_state.
func stateJSON(rows []*row) []byte { return appendPeople(nil, rows) }

// diffJSON is the payload of a presence_diff.
func diffJSON(joins, leaves []*row) []byte {
	b := append([]byte(nil), `{"joins":`...)
	b = appendPeople(b, joins)
	b = append(b, `,"leaves":`...)
	b = appendPeople(b, leaves)
	return append(b, '}')
}

// countJSON is the payload of a presence_count.
func countJSON(people uint64) []byte {
	b := strconv.AppendUint([]byte(`{"count":`), people, 10)
	return append(b, '}')
}

// appendPeople writes rows by key, those of one key in the order they came. It
// sorts rows.
func appendPeople(b []byte, rows []*row) []byte {
	slices.SortFunc(rows, func(a, b *row) int {
		return cmp.Or(strings.Compare(a.GetKey(), b.GetKey()), cmp.Compare(a.came, b.came))
	})
	b = append(b, '{')
	for i, r := range rows {
		if i == 0 || rows[i-1].GetKey() != r.GetKey() {
			if i > 0 {
				b = append(b, `]},`...)
			}
			b = appendString(b, r.GetKey())
			b = append(b, `:{"metas":[`...)
		} else {
			b = append(b, ',')
		}
		b = appendMeta(b, r)
	}
	if len(rows) > 0 {
		b = append(b, `]}`...)
	}
	return append(b, '}')
}

// appendMeta writes a meta with its refs, which need no escapes.
func appendMeta(b []byte, r *row) []byte {
	b = append(b, `{"phx_ref":"`...)
	b = append(b, r.GetRef()...)
	if r.GetRefPrev() != "" {
		b = append(b, `","phx_ref_prev":"`...)
		b = append(b, r.GetRefPrev()...)
	}
	b = append(b, '"')
	if r.GetMeta() != "{}" {
		b = append(b, ',')
	}
	return append(b, r.GetMeta()[1:]...)
}

// appendString writes a JSON string.
func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x7f || c == '"' || c == '\\' {
			quoted, _ := json.Marshal(s) //nolint:errchkjson // a string has no error
			return append(b, quoted...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}
