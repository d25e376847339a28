package exchange

import (
	"slices"
	"time"
)

// fence waits until every receiver confirmed what was sent to it before.
type fence struct {
	number   uint64
	view     bool // of a view; a later one replaces it
	edges    map[*Edge]struct{}
	peers    map[*peer]uint64 // with the seq of subscriptions that each must acknowledge
	deadline time.Time
	done     func()
}

// fences are the open ones, oldest first. Guarded by the exchange's mu.
type fences struct {
	last uint64
	open []*fence
}

// fence calls done, under the lock, when every attached edge and every peer
// with backend subscriptions took in what was queued for it so far, when they
// went away, or after [FenceTime]. The caller holds mu.
func (x *Exchange) fence(view bool, done func()) {
	x.fences.last++
	f := &fence{
		number: x.fences.last, view: view, done: done,
		edges: map[*Edge]struct{}{}, peers: map[*peer]uint64{},
		deadline: x.opts.Now().Add(FenceTime),
	}
	for _, e := range x.edges {
		f.edges[e] = struct{}{}
		e.port.Fence(f.number)
	}
	for _, p := range x.peers {
		if p.link != nil && !p.subs.empty() {
			// A peer acknowledges subscriptions behind all that came before them:
			// sent once more they are its fence.
			f.peers[p] = x.subs.again()
			x.tellSubscriptions(p)
		}
	}
	x.fences.open = append(x.fences.open, f)
	x.wake()
	x.completeFences()
}

// replaceView drops the open fence of an earlier view.
func (fs *fences) replaceView() {
	fs.open = slices.DeleteFunc(fs.open, func(f *fence) bool { return f.view })
}

func (fs *fences) edgeAnswered(e *Edge, number uint64) {
	for _, f := range fs.open {
		if f.number <= number {
			delete(f.edges, e)
		}
	}
}

func (fs *fences) peerAnswered(p *peer, seq uint64) {
	for _, f := range fs.open {
		if want, ok := f.peers[p]; ok && want <= seq {
			delete(f.peers, p)
		}
	}
}

func (fs *fences) withoutEdge(e *Edge) {
	for _, f := range fs.open {
		delete(f.edges, e)
	}
}

func (fs *fences) withoutPeer(p *peer) {
	for _, f := range fs.open {
		delete(f.peers, p)
	}
}

// completeFences ends those that wait for nobody. The caller holds mu.
func (x *Exchange) completeFences() {
	x.endFences(func(f *fence) bool { return len(f.edges) == 0 && len(f.peers) == 0 })
}

func (x *Exchange) fencesByTime(now time.Time) {
	x.endFences(func(f *fence) bool { return !now.Before(f.deadline) })
}

func (x *Exchange) endFences(over func(*fence) bool) {
	var ended []*fence
	x.fences.open = slices.DeleteFunc(x.fences.open, func(f *fence) bool {
		if !over(f) {
			return false
		}
		ended = append(ended, f)
		return true
	})
	for _, f := range ended {
		f.done()
	}
}
