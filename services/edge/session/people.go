package session

// People is who is online in each topic. Its methods never block; they may be
// called under a lock of the hub, so they must not call the hub: what they have
// to say they say later, by [Watcher.Push] and by broadcasts.
type People interface {
	// Enter makes w, which just joined the topic, hear who is in it: first a
	// presence_state, then each presence_diff, which goes to the topic. With
	// a person, w is one of them from now on.
	Enter(topic string, w Watcher, maxListed int, p *Person)
	// Track makes w a person, or changes who it is.
	Track(topic string, w Watcher, p Person)
	// Untrack makes w hear without being seen.
	Untrack(topic string, w Watcher)
	// Leave ends what Enter began. It does nothing if there was no Enter. With
	// moving, whoever w was is expected on another edge: for a moment nobody sees
	// that it left.
	Leave(topic string, w Watcher, moving bool)
}

// Watcher is a channel that hears of people.
type Watcher interface {
	// Push sends an event to this channel alone, unless it ended. It takes a lock
	// of the hub.
	Push(event string, payload []byte)
}
