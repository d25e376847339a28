// Package edge holds client sockets and joins them to the mesh.
//
// # Flow
//
// admit decides who may open a socket at a mount. socket, or longpoll, turns
// bytes into messages, session decides what they mean, hub knows who subscribes
// here, uplink publishes to the router that owns the topic. What routers deliver
// enters at uplink and leaves through hub and socket. Where a backend decides,
// session asks it through callout; who is online is kept by people.
//
// Beside that way, report tells presence how loaded the edge is. What presence
// answers is kept by hints: [Agent] tells HAProxy the weight, and drain moves
// connections to other edges. The admin port tells everybody else whether the edge
// takes connections. Routers may ask an edge to disconnect clients, or to serve a
// poll.
//
// # Goroutines
//
// None for an idle socket where the kernel has epoll. Besides those of socket:
// two for each router (uplink's sender and receiver), four for each presence
// instance (load and people), one for each call to a handler under way, one sweep
// in hub and one in uplink, one in drain, and the listeners' own. A
// session belongs to the goroutine that reads its socket; everybody else only
// pushes frames to the socket's outbox.
//
// # Overload
//
// A socket that stays more than Sockets.OutboxBytes behind is closed with 1013. A
// client whose joins and pushes wait is not read meanwhile. A push that meets a
// full uplink is answered with "overloaded", one without an owner for five
// seconds with "unavailable". Nothing else waits.
//
// # Stopping
//
// When the context of [Edge.Run] ends, the edge turns unready and tells HAProxy
// to drain it, goes on for Draining.Delay until balancers have noticed, refuses
// who comes, and closes its connections with 1012 one after the other. The uplink
// stops last. An order of an operator, or /drain on the admin port, does the same
// to an edge that stays: when that is taken back, it serves again.
package edge
