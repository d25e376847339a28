package people

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"unicode/utf8"

	"github.com/cespare/xxhash/v2"

	"github.com/skein-mesh/skein/services/edge/session"
)

// Bounds of one person, in bytes.
const (
	MaxKeyLen  = 255
	MaxMetaLen = 4 << 10
)

// refused is why somebody is not seen.
type refused string

// The reasons: a closed set.
const (
	refusedKey  refused = "key"  // it is empty, too long or no UTF-8
	refusedMeta refused = "meta" // it is no JSON object, or too long
)

// person is who is valid to be seen.
type person struct {
	key  string
	meta string // compact JSON object without the members that Phoenix adds
}

// parse returns the person that p says, or why it cannot be seen.
func parse(p session.Person) (*person, refused) {
	if p.Key == "" || len(p.Key) > MaxKeyLen || !utf8.ValidString(p.Key) {
		return nil, refusedKey
	}
	meta, ok := compact(p.Meta)
	if !ok {
		return nil, refusedMeta
	}
	return &person{p.Key, meta}, ""
}

// compact returns a JSON object without white space and without the refs, which
// nobody but the mesh may set: a client removes people by them. Nothing is an
// empty object.
func compact(meta []byte) (string, bool) {
	if len(meta) == 0 {
		return "{}", true
	}
	var b bytes.Buffer
	if len(meta) > 2*MaxMetaLen || !utf8.Valid(meta) || json.Compact(&b, meta) != nil || b.Bytes()[0] != '{' {
		return "", false
	}
	text := b.Bytes()
	if bytes.Contains(text, []byte("phx_ref")) || bytes.IndexByte(text, '\\') >= 0 {
		var ok bool
		if text, ok = withoutRefs(text); !ok {
			return "", false
		}
	}
	if len(text) > MaxMetaLen {
		return "", false
	}
	return string(text), true
}

// withoutRefs takes the refs out of an object, however they are escaped.
func withoutRefs(object []byte) ([]byte, bool) {
	var members map[string]json.RawMessage
	if json.Unmarshal(object, &members) != nil {
		return nil, false
	}
	_, ref := members["phx_ref"]
	_, prev := members["phx_ref_prev"]
	if !ref && !prev {
		return object, true
	}
	delete(members, "phx_ref")
	delete(members, "phx_ref_prev")
	text, err := json.Marshal(members)
	return text, err == nil
}

// refs makes refs that are unique in the fleet: they begin with a hash of this
// life of this edge.
type refs struct {
	bytes [12]byte
	count uint64
}

func newRefs(edge string, incarnation uint64) refs {
	var r refs
	hash := xxhash.Sum64(binary.BigEndian.AppendUint64([]byte(edge+"\x00"), incarnation))
	binary.BigEndian.PutUint64(r.bytes[:], hash) // of which the first six bytes are kept
	return r
}

func (r *refs) next() string {
	r.count++
	var count [8]byte
	binary.BigEndian.PutUint64(count[:], r.count)
	copy(r.bytes[6:], count[2:])
	return base64.RawURLEncoding.EncodeToString(r.bytes[:])
}
