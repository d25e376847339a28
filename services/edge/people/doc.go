// Package people shows the clients of one edge who is online in their topics.
//
// # Replicas
//
// For each topic with a channel here the edge keeps a replica of its people: its
// own, which it alone decides, and those of other edges, as the presence instance
// that owns the topic tells. A change of the edge's own people is shown here at
// once and told to the owner, who tells the other edges. Nobody waits for
// presence: without it, clients of one edge still see each other.
//
// # What clients get
//
// A channel that enters gets a presence_state, as soon as the owner said who is
// there, or after [Config.StateWait]. Changes go to the topic as presence_diff:
// the first at once, those that follow within [Config.Interval] together. Who
// comes and goes in between is not mentioned, unless somebody got a state with it.
// A topic with too many people to list gets presence_count instead, at most each
// [CountInterval], and a presence_state on the way back; a channel that enters
// meanwhile gets an empty state and the number.
//
// # Changes of the view
//
// When the set of instances changes, topics with another owner are announced
// there and released at the old one. Replicas stay as they are until the new
// owner sends its state; only the difference is shown. So an instance may restart
// without a client noticing.
//
// # Locks
//
// core decides; it does no I/O and is told the time. One lock guards it. It is a
// leaf: states and broadcasts, which take locks of the hub, are sent by the
// goroutine of [Tracker.Run] while it is free.
package people
