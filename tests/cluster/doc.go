// Package cluster runs whole fleets in one process and in virtual time: the same
// edges, routers and presence instances as the commands, over a gossip network
// and gRPC connections in memory that can be cut, and clients that speak Phoenix
// V2 over WebSockets.
//
// Everything lives in a testing/synctest bubble, so a minute of outage takes
// milliseconds and a goroutine that is left over fails the test.
package cluster
