// Package exchange decides who receives a broadcast. It knows the router view,
// the interest rows of every attached edge and what backends subscribe to; it
// orders the topics that this router owns and forwards the others.
//
// It does no I/O, starts no goroutine and reads no clock but the one it is
// given. What it decides leaves through [Port], [Link], [Origin] and [Sink],
// which only push to bounded queues: they are called under the exchange's lock.
//
// # Order
//
// One lock covers ordering and every push, so all edges see the messages of a
// topic in one order and a delivery is queued before the acknowledgement of its
// own publish. Work that grows with the number of rows is cut into short steps.
//
// # View changes
//
// An exchange that adopts a view stops at once to order what it no longer owns,
// then fences: each edge, and each peer with backend subscriptions, confirms
// that it took in all that was sent before. Then the exchange tells its peers
// that it released the view. A new owner holds a topic's publishes until each
// previous owner released, went away, or [SettleTime] passed.
//
// # Time
//
// The owner of an exchange calls [Exchange.Tick] each [TickInterval] from the
// moment [Exchange.Alarm] delivers until Tick says that nothing waits.
package exchange
