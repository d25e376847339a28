package people

import (
	"encoding/json"
	"unicode/utf8"

	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
)

// Bounds of one person, in bytes.
const (
	MaxKeyLen  = 255
	MaxMetaLen = 4 << 10
	MaxRefLen  = 32
)

// Limits bound what edges may say.
type Limits struct {
	TopicRows int // of one topic
	EdgeRows  int // of one edge
	Topics    int // of one edge
}

// DefaultLimits are far above what a fleet needs.
func DefaultLimits() Limits {
	return Limits{TopicRows: 1_000_000, EdgeRows: 1_000_000, Topics: 1_000_000}
}

// Refused is why something an edge said does not count.
type Refused int

// The reasons: a closed set.
const (
	accepted         Refused = iota
	RefusedMalformed         // it is no topic, key, ref or meta, or the ref is another's
	RefusedTopicFull         // the topic has too many people
	RefusedEdgeFull          // the edge has too many people
	RefusedTopics            // the edge is in too many topics
	refusals
)

// Reasons are all of [Refused].
func Reasons() []Refused {
	return []Refused{RefusedMalformed, RefusedTopicFull, RefusedEdgeFull, RefusedTopics}
}

// String is the value of the label reason.
func (r Refused) String() string {
	switch r {
	case RefusedMalformed:
		return "malformed"
	case RefusedTopicFull:
		return "topic_full"
	case RefusedEdgeFull:
		return "edge_full"
	case RefusedTopics:
		return "topics"
	default:
		return "accepted"
	}
}

// refuse says why a row cannot be entered, if it cannot.
func (l *Ledger) refuse(t *topic, s *share, p *presencev1.Person) Refused {
	switch {
	case !valid(p):
		return RefusedMalformed
	case len(t.refs) >= l.limits.TopicRows:
		return RefusedTopicFull
	case s.edge.rows >= l.limits.EdgeRows:
		return RefusedEdgeFull
	}
	return accepted
}

func valid(p *presencev1.Person) bool {
	key, meta := p.GetKey(), p.GetMeta()
	return key != "" && len(key) <= MaxKeyLen && utf8.ValidString(key) &&
		validRef(p.GetRef()) && (p.GetRefPrev() == "" || validRef(p.GetRefPrev())) &&
		len(meta) >= len("{}") && len(meta) <= MaxMetaLen && meta[0] == '{' && json.Valid([]byte(meta))
}

// validRef reports whether ref is base64url, so that it can stand in JSON as it is.
func validRef(ref string) bool {
	for i := range len(ref) {
		c := ref[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return ref != "" && len(ref) <= MaxRefLen
}
