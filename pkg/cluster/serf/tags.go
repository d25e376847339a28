package serf

import (
	"fmt"
	"strconv"

	"github.com/skein-mesh/skein/pkg/cluster"
)

// Names of the tags that describe a member. All tags together must fit 512
// bytes, so they are few and load is not among them.
const (
	tagID          = "id"
	tagIncarnation = "inc"
	tagRole        = "role"
	tagState       = "state"
	tagAddress     = "grpc"
	tagVersion     = "ver"
)

// Bounds that keep the tags within their 512 bytes.
const (
	maxAddressLen = 255
	maxVersionLen = 64
)

// nodeName names one life of a member in gossip. Gossip refuses a known name at
// a new address until it has seen the old one fail, so a restarted container
// must not come back under the name of its earlier life, even when its operator
// gave it the same id.
func nodeName(m cluster.Member) string {
	return m.ID + "@" + strconv.FormatUint(m.Incarnation, 36)
}

func encodeTags(m cluster.Member) map[string]string {
	return map[string]string{
		tagID:          m.ID,
		tagIncarnation: strconv.FormatUint(m.Incarnation, 36),
		tagRole:        string(m.Role),
		tagState:       string(m.State),
		tagAddress:     m.Address,
		tagVersion:     m.Version[:min(len(m.Version), maxVersionLen)],
	}
}

// decodeTags returns the member that tags describe. They come from the network:
// what is malformed, or of a later version that has other roles, is refused.
func decodeTags(tags map[string]string) (cluster.Member, error) {
	incarnation, err := strconv.ParseUint(tags[tagIncarnation], 36, 64)
	if err != nil {
		return cluster.Member{}, fmt.Errorf("incarnation: %w", err)
	}
	m := cluster.Member{
		ID:          tags[tagID],
		Incarnation: incarnation,
		Role:        cluster.Role(tags[tagRole]),
		State:       cluster.State(tags[tagState]),
		Address:     tags[tagAddress],
		Version:     tags[tagVersion],
	}
	return m, m.Validate()
}
