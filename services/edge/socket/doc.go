// Package socket holds the WebSockets of an edge. It upgrades them with
// gofiber/contrib/websocket, hands each complete message to a [Handler] and
// writes what the handler's side queues with [Conn.Send].
//
// # Mounts
//
// A server has one or more [Mount], each a path with limits of its own. What
// concerns the transport is checked here: the handshake's headers, the version of
// the serializer, subprotocols, how many sockets an address has. Who may connect,
// and what handles the socket, is decided by [Mount.Admit].
//
// # Balancers
//
// With [Options.Balancers] every connection begins with a header of the PROXY
// protocol, from which the address of the client is taken; what comes from
// anywhere else, or without one, is refused. The header is read here and not by
// the listener of its module: the epoll engine needs the connection itself, and
// one slow header must not hold the others.
//
// # Engines
//
// On Linux a plain TCP socket leaves the package and Go's poller right after
// its handshake: one epoll loop reads many sockets into one buffer, and a
// flusher writes everything that waits for a socket in one system call. An idle
// socket holds no goroutine and no buffer. Everywhere else (TLS, other systems,
// in-memory listeners) a socket has two goroutines, which use the package's own
// reader and writer (but see Compression). Both engines behave the same; one test suite runs on both.
//
// # Compression
//
// A mount may take up offers of permessage-deflate, always without context
// takeover: then nothing is kept for a socket between two messages, and a
// broadcast is compressed once ([wsframe.Deflate]) for all sockets that
// [Conn.Deflates]. Offers that ask for a smaller window are declined, for the
// compressor has but one. What a client sends is inflated up to
// [Mount.MessageBytes] and no further. That bounds memory; it bounds time less
// well: the worst input known, thousands of code tables for nothing, costs 0.1 µs
// of the loop for each byte on the wire, some 25 times an honest one. Where
// strangers may send compressed messages, a small MessageBytes keeps that short.
//
// Frames of such a socket are this package's own under both engines: the
// package's reader takes the bit of a compressed message on frames that must not
// have it, and its writer compresses for each socket anew.
//
// # Goroutines
//
// Epoll: one per loop and one per flusher, whatever the number of sockets.
// Portable: a reader and a writer per socket. A [Handler] is called by one
// goroutine at a time. [Mount.Admit] and the fallback handler have the goroutine
// of their HTTP request.
//
// # Overload
//
// What waits for a socket is bounded by [Limits.OutboxBytes], in a burst by a
// multiple of it. A socket whose client reads too slowly is closed with 1013 and
// counted; others never wait for it, because every write is non-blocking or the
// socket's own. A delayed refusal holds a goroutine; when 1024 wait, others are
// answered at once.
package socket
