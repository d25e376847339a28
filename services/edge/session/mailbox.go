package session

import "sync"

// mailbox runs what a channel has to do one after the other, as the process of
// a channel does in Phoenix: each begins when the one before is done, which may
// be later and on another goroutine. The zero value is ready. No lock is held
// while anything runs.
type mailbox struct {
	mu      sync.Mutex // guards the fields below
	waiting []func()
	busy    bool   // one has begun and is not done
	running bool   // a goroutine is looking for the next
	goodbye func() // of [mailbox.last], to be called when busy ends
}

// add runs do when all before it is done. do ends with one call of done, maybe
// by another goroutine.
func (b *mailbox) add(do func()) {
	b.mu.Lock()
	b.waiting = append(b.waiting, do)
	b.mu.Unlock()
	b.run()
}

// done ends what has begun.
func (b *mailbox) done() {
	b.mu.Lock()
	b.busy = false
	goodbye := b.goodbye
	b.goodbye = nil
	b.mu.Unlock()
	if goodbye != nil {
		goodbye()
	}
	b.run()
}

// last calls do between two others: at once, or when the present one is done.
// It is for one call, which may be made with a lock held that the others need.
func (b *mailbox) last(do func()) {
	b.mu.Lock()
	if b.busy {
		b.goodbye, do = do, nil
	}
	b.mu.Unlock()
	if do != nil {
		do()
	}
}

// run runs what waits, unless something is under way.
func (b *mailbox) run() {
	for do := b.next(false); do != nil; do = b.next(true) {
		do()
	}
}

// next returns what to run; nil if there is nothing, or another goroutine will.
// mine says that the caller is the one who runs.
func (b *mailbox) next(mine bool) func() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.running && !mine {
		return nil
	}
	b.running = !b.busy && len(b.waiting) > 0
	if !b.running {
		return nil
	}
	do := b.waiting[0]
	b.waiting[0] = nil
	b.waiting = b.waiting[1:]
	b.busy = true
	return do
}
