// Package ring names the owner of a topic by rendezvous hashing (Thaler and
// Ravishankar, 1996): every node scores a topic with every member, the highest
// score owns it. Adding or removing one of n members moves 1/n of the topics and
// no others, and nobody has to agree on anything but the list of members.
package ring

import (
	"encoding/binary"
	"slices"

	"github.com/cespare/xxhash/v2"
)

// Member is a candidate owner.
type Member struct {
	ID          string // unique in the fleet
	Incarnation uint64 // tells one life of an id from the next
}

// Ring is an immutable set of candidate owners. The zero value is empty and
// owns nothing. All methods may be called concurrently.
type Ring struct {
	members []Member // sorted by ID
	seeds   []uint64 // seeds[i] is the hash of members[i].ID
	hash    uint64
}

// New returns the ring of members, in any order. Of two members with one ID the
// later incarnation counts.
func New(members ...Member) Ring {
	sorted := slices.Clone(members)
	slices.SortFunc(sorted, func(a, b Member) int {
		if a.ID != b.ID {
			if a.ID < b.ID {
				return -1
			}
			return 1
		}
		if a.Incarnation > b.Incarnation { // the later first, so that compaction keeps it
			return -1
		}
		return 1
	})
	sorted = slices.CompactFunc(sorted, func(a, b Member) bool { return a.ID == b.ID })
	r := Ring{members: sorted}
	digest := xxhash.New()
	for _, m := range sorted {
		r.seeds = append(r.seeds, xxhash.Sum64String(m.ID))
		_, _ = digest.WriteString(m.ID)
		_, _ = digest.Write(binary.BigEndian.AppendUint64([]byte{0}, m.Incarnation))
	}
	if len(sorted) > 0 {
		r.hash = digest.Sum64()
	}
	return r
}

// Owner returns the id of the member that owns topic, "" if the ring is empty.
func (r Ring) Owner(topic string) string {
	key := xxhash.Sum64String(topic)
	best, score := "", uint64(0)
	for i, seed := range r.seeds {
		if s := mix(key ^ seed); best == "" || s > score {
			best, score = r.members[i].ID, s
		}
	}
	return best
}

// Hash identifies the set of (id, incarnation) pairs; 0 is the empty ring's.
func (r Ring) Hash() uint64 { return r.hash }

// Members returns the candidates, sorted by ID. It must not be changed.
func (r Ring) Members() []Member { return r.members }

// Has reports whether id is a candidate.
func (r Ring) Has(id string) bool {
	return slices.ContainsFunc(r.members, func(m Member) bool { return m.ID == id })
}

// mix is the finalizer of SplitMix64 (Steele, Lea, Flood, 2014): it spreads the
// xor of two hashes so that scores of different members are independent.
func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}
