package session

import (
	"github.com/skein-mesh/skein/pkg/grant"
	"github.com/skein-mesh/skein/pkg/phx"
)

// Client is who opened a socket, and how it talks.
type Client struct {
	Version phx.Version
	Deflate bool         // frames may be compressed
	User    string       // as the token or the handler says; empty if nobody does
	Grant   *grant.Grant // of the token it connected with; nil for none
	Assigns []byte       // JSON object that the handler's Connect set, for its later calls; nil for none
	Trace   []byte       // context of the trace that all it asks for belongs to; nil for none
}

// Tokens checks tokens that come in joins and refresh events.
type Tokens interface {
	// Verify calls done exactly once, by any goroutine, maybe before it returns:
	// with the grant, or an error of package grant or [channel.ErrUnavailable].
	Verify(token string, done func(*grant.Grant, error))
}
