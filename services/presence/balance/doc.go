// Package balance decides how many connections each edge should have, what
// balancers are told, and who moves when. It is pure: time is passed in, nothing
// is locked, no goroutine is started.
//
// # Flow
//
// Once a second a [Planner] steps over a [Sample] of the fleet:
//
//	fleet.go     who serves, who drains, which versions and groups there are
//	level.go     targets by largest remainder, surplus, deficit: the moves
//	weight.go    what balancers should be told, so that arrivals go where they lack
//	flow.go      did those who moved come back, and where to?
//	gate.go      what forbids to move anybody now
//	planner.go   puts these together into hints, and remembers the plan under way
//
// # Why so few moves
//
// An edge with more connections than its target has to lose the surplus, so the
// sum of all surplus is the least number of moves that reaches the targets. Moving
// exactly that many is enough if every arrival lands on an edge that lacks some,
// which is what the weights are for: they are told first, and moves begin only
// when every balancer had the time to ask for them. A plan for the result of a
// plan has no moves.
//
// # What is remembered
//
// Hints are levels, not commands (decision 0012), and a plan is made anew with
// each step from what is observed. A planner that takes over needs nothing of its
// predecessor: it only begins a new list of past plans, and learns again how
// balancers respond.
package balance
