// Package router assembles a router: it owns its share of the topics, orders
// their messages and fans them out.
//
// # Flow
//
// An edge's stream arrives at package attach, a peer's at package mesh, a
// backend's call at package api. All three hand publishes to package exchange,
// which knows the owner: this router orders and pushes to the queues of edges,
// peers and backends, or forwards once over its link to the owner. The pump of
// each stream sends what its queue holds.
//
// Package httpapi takes the calls of backends over HTTP. It passes them to
// package api through a gRPC server in memory that has the interceptors of the
// public one.
//
// Two calls end at an edge and not in the exchange: a Disconnect of a backend,
// which all edges are asked, and a Poll that one edge passes on to another. They
// go out on the edge's stream, and their answers come back on it.
//
// What an edge asks of a backend goes through package handlers, which has
// nothing to do with any of them.
//
// # Life
//
// A router is joining until every edge and peer is connected to it, at most
// [JoinTime]; then ready. When its context ends it is leaving: it hands its rows
// to the new owners, waits until everybody publishes elsewhere, at most
// [LeaveTime], leaves the gossip and ends its streams.
//
// # Goroutines
//
// Two per attached edge and per accepted peer: gRPC's handler, which sends, and
// the pump's receiver. Two per link to a peer. One per call of a backend, and a
// second that receives for a PublishStream, or one more for each edge that a
// Disconnect asks. One each for the membership, for the
// passing of time and for the state of this router.
//
// # Overload
//
// A delivery to an edge or peer whose queue is full is dropped and counted; all
// others get theirs. A backend that reads too slowly is cut off. A publish that
// finds a queue full is refused, and so is a call to a backend that has too many
// under way. What waits while the view settles is bounded in
// bytes and time.
package router
