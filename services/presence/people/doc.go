// Package people keeps who is online in the topics of one presence instance, and
// decides which edge is told what. It does no I/O, starts no goroutine and reads
// no clock: the time is passed in. What it decides leaves through [Port] and
// [Sink], which only push to bounded queues. It is not safe for concurrent use.
//
// # Rows
//
// A row is one channel that is seen in a topic. Its edge alone adds and removes
// it, on a stream; every other edge with channels in the topic watches, and is
// told. An edge knows its own people without being told.
//
// # Edges that go
//
// The rows of an edge whose stream broke stay for [ReturnTime]: it may be back at
// once. A row that is moving, because its edge drains, stays for [MoveTime]
// unless its key is still online elsewhere; a row that comes with the same key
// replaces it in one update, so nobody sees the person leave.
//
// # Changes of the view
//
// When the set of instances changes, each edge tells its rows to the new owners
// of its topics and releases them at the old ones, which tell nobody. A topic
// that is new here is unsettled: nothing is told of it until every edge has said
// under one view all it has to say, or [SettleTime] passed. Then each edge gets
// one state, which it compares with what it knew. A topic that an edge released
// is unsettled as well: its rows are not all here any more.
package people
