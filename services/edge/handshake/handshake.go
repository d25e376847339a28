// Package handshake is what a client asks when it opens a socket, whatever the
// transport, and what it is answered. The transports fill a [Request]; package
// admit decides.
package handshake

import (
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/skein-mesh/skein/pkg/phx"
)

// Transport is how a socket's messages travel.
type Transport string

// The transports.
const (
	WebSocket Transport = "websocket"
	LongPoll  Transport = "longpoll"
)

// Request is a copy of what a client asked: it may be kept.
type Request struct {
	Connection uint64 // id of the socket to be, unique in one life of the edge, from 1
	Transport  Transport
	Version    phx.Version // of the serializer
	URL        *url.URL    // scheme, host, path and query as the client asked
	Params     url.Values  // the client's own, vsn among them
	Remote     netip.AddrPort
	Origin     string
	HasOrigin  bool   // there was an Origin header, even an empty one
	AuthToken  string // phoenix.js's authToken, empty if there is none
	Header     http.Header
}

// Refusal is an answer in place of a socket.
type Refusal struct {
	Status int           // of HTTP; 0 is no refusal
	Body   string        // usually empty
	After  time.Duration // to wait before the answer
}

// Forbidden is the refusal of Phoenix for whatever its application refuses.
var Forbidden = Refusal{Status: http.StatusForbidden} //nolint:gochecknoglobals // Go has no constants of structs
