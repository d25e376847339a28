package socket

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/skein-mesh/skein/pkg/wsframe"
	"github.com/skein-mesh/skein/services/edge/handshake"
)

// DefaultPath is where phoenix.js looks for sockets if it is given "/socket".
const DefaultPath = "/socket"

// suffix of a mount's path, as phoenix.js appends it. A slash may follow.
const suffix = "/websocket"

// Mount is a place for sockets, with options of its own. Path and Admit are
// required; zero means the default for the rest.
type Mount struct {
	// Path such as /socket or /ws/:user_id: WebSockets are below it at /websocket.
	// What stands in place of :user_id is the parameter user_id of the request,
	// whatever the query says. See [CheckPath].
	Path string

	// Admit decides about a request: it returns what makes the handler of its
	// socket, or a refusal. It may block, and be called concurrently; ctx ends
	// after [Limits.Handshake] or when the server drains. A client that goes
	// away meanwhile is admitted in vain: then the handler is not made. So it is
	// if the server drains, or if the address reached its limit.
	Admit func(ctx context.Context, r *handshake.Request) (func(*Conn) Handler, handshake.Refusal)

	FrameBytes   int           // most bytes of one frame of a client with its header (1 MiB)
	MessageBytes int           // most bytes of one message of a client, over all of its fragments and inflated (1 MiB)
	Idle         time.Duration // without any frame of the client; then it is closed with 1002 (60 s)
	Compress     bool          // take up offers of permessage-deflate
	Subprotocols []string      // of which a client that offers any must offer one; empty to ignore what it offers
}

// DefaultMount returns the default limits of a mount at [DefaultPath].
func DefaultMount() Mount {
	return Mount{
		Path:         DefaultPath,
		FrameBytes:   1 << 20,
		MessageBytes: 1 << 20,
		Idle:         60 * time.Second,
	}
}

func (m Mount) withDefaults() Mount {
	d := DefaultMount()
	m.FrameBytes = cmp.Or(m.FrameBytes, d.FrameBytes)
	m.MessageBytes = cmp.Or(m.MessageBytes, d.MessageBytes)
	m.Idle = cmp.Or(m.Idle, d.Idle)
	return m
}

// CheckPath says what is wrong with the path of a mount: it is made of segments
// such as /socket, of letters, digits, and any of "-._~", and /:user_id, of lower
// case letters, digits and "_", each name once.
func CheckPath(path string) error {
	segments, ok := strings.CutPrefix(path, "/")
	if !ok {
		return fmt.Errorf("path %q must begin with a slash", path)
	}
	seen := map[string]bool{}
	for segment := range strings.SplitSeq(segments, "/") {
		name, isParam := strings.CutPrefix(segment, ":")
		if !isParam {
			if !madeOf(segment, letters+strings.ToUpper(letters)+digits+"-._~") {
				return fmt.Errorf("path %q: %q is neither a segment such as socket nor a parameter such as :user_id", path, segment)
			}
			continue
		}
		if !madeOf(name, letters+digits+"_") || seen[name] {
			return fmt.Errorf("path %q: %q is not a name of its own, of a-z, 0-9 and _", path, segment)
		}
		seen[name] = true
	}
	return nil
}

const (
	letters = "abcdefghijklmnopqrstuvwxyz"
	digits  = "0123456789"
)

func madeOf(s, set string) bool { return s != "" && strings.Trim(s, set) == "" }

// checkMounts says what is wrong with the mounts of a server.
func checkMounts(mounts []Mount) error {
	var errs []error
	if len(mounts) == 0 {
		errs = append(errs, errors.New("socket: no mounts"))
	}
	seen := map[string]bool{}
	for _, m := range mounts {
		if err := CheckPath(m.Path); err != nil {
			errs = append(errs, fmt.Errorf("socket: %w", err))
		}
		if m.Admit == nil {
			errs = append(errs, fmt.Errorf("socket: mount %s admits nobody", m.Path))
		}
		if seen[m.Path] {
			errs = append(errs, fmt.Errorf("socket: two mounts at %s", m.Path))
		}
		seen[m.Path] = true
	}
	return errors.Join(errs...)
}

// mount is a Mount as its connections see it.
type mount struct {
	Mount

	server *Server
}

func (m *mount) limits() wsframe.Limits {
	return wsframe.Limits{Frame: m.FrameBytes, Message: m.MessageBytes}
}
