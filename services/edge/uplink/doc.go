// Package uplink joins an edge to every router of the fleet.
//
// An edge keeps one stream to each router it is told of. Every router reports
// its view on its stream; the edge adopts the view that most of them report,
// announces to each router the topics that this router owns under it, and
// publishes to the owner. What routers deliver goes to the edge's hub.
//
// # Parts
//
// core decides: who owns a topic, what is announced to whom, when a join is
// confirmed, where a publish goes and how long it may wait. It does no I/O,
// starts no goroutine and reads no clock but the one it is told. link moves
// bytes: one goroutine for each router, which dials, runs the stream and dials
// again.
//
// # Order
//
// The publishes of a topic go to one router at a time. When another router
// becomes the owner, they wait until those under way are answered or their
// stream broke. A publish that may have reached a router is never sent twice:
// if its stream breaks, it failed.
//
// # Calls
//
// A router may ask the edge to do something; see [Calls]. Each call runs beside
// the stream, so a poll that waits holds nothing up, and only a few answers may
// wait to be sent at once: a publish is behind no more than these. Calls end
// with their stream.
//
// # Locks
//
// The core has one lock, a leaf: under it there are only pushes to bounded
// queues. What the core wants done outside (answers, confirmations, failures)
// it returns as effects, which the caller carries out after the lock is free.
package uplink
