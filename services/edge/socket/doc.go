// Package socket holds the WebSockets of an edge. It upgrades them with
// gofiber/contrib/websocket, hands each complete message to a [Handler] and
// writes what the handler's side queues with [Conn.Send].
//
// # Engines
//
// On Linux a plain TCP socket leaves the package and Go's poller right after
// its handshake: one epoll loop reads many sockets into one buffer, and a
// flusher writes everything that waits for a socket in one system call. An idle
// socket holds no goroutine and no buffer. Everywhere else (TLS, other systems,
// in-memory listeners) a socket has two goroutines, which use the package's own
// reader and writer. Both engines behave the same; one test suite runs on both.
//
// # Goroutines
//
// Epoll: one per loop and one per flusher, whatever the number of sockets.
// Portable: a reader and a writer per socket. A [Handler] is called by one
// goroutine at a time.
//
// # Overload
//
// What waits for a socket is bounded by [Limits.OutboxBytes], in a burst by a
// multiple of it. A socket whose client reads too slowly is closed with 1013 and
// counted; others never wait for it, because every write is non-blocking or the socket's own.
package socket
