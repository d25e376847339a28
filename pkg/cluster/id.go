package cluster

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"time"
)

// MaxIDLen is how many bytes an id may have: it travels in each gossip packet
// about its member.
const MaxIDLen = 64

// NewID returns an id for this process: the host's name, so that a reader knows
// where to look, and a random suffix, so that a restart on another address is
// another member and is not mistaken for an imposter of the first.
func NewID() string {
	host, err := os.Hostname()
	if err != nil {
		host = ""
	}
	var suffix [3]byte
	_, _ = rand.Read(suffix[:]) // never fails
	return hostLabel(host) + "-" + hex.EncodeToString(suffix[:])
}

// NewIncarnation returns the incarnation of a process that starts now.
func NewIncarnation() uint64 { return uint64(max(time.Now().UnixMilli(), 1)) }

// CheckID reports why id cannot name a member.
func CheckID(id string) error {
	if id == "" || len(id) > MaxIDLen {
		return fmt.Errorf("cluster: id %.80q must have 1 to %d bytes", id, MaxIDLen)
	}
	if strings.ContainsFunc(id, func(r rune) bool { return !idRune(r) }) {
		return fmt.Errorf("cluster: id %q may hold letters, digits, '-', '.' and '_' only", id)
	}
	return nil
}

func idRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '.' || r == '_'
}

// hostLabel returns the first label of a host name, fit for an id.
func hostLabel(host string) string {
	label, _, _ := strings.Cut(host, ".")
	label = strings.Map(func(r rune) rune {
		if idRune(r) {
			return r
		}
		return -1
	}, label)
	if label == "" {
		label = "node"
	}
	return label[:min(len(label), 40)]
}
