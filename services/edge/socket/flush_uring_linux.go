package socket

import (
	"golang.org/x/sys/unix"

	"github.com/skein-mesh/skein/services/edge/socket/uring"
)

const (
	ringEntries = 256       // sockets per system call
	ringBytes   = 512 << 10 // gathered frames per system call
)

// openRing makes the ring, if it is wanted and possible, and returns what
// closes it.
func (f *flusher) openRing() (release func()) {
	if f.server.opts.Writer == WriteCalls {
		return func() {}
	}
	ring, err := uring.New(ringEntries)
	if err != nil {
		if f.server.opts.Writer == UringWriter {
			f.server.opts.Log.Warn("sockets are written with write(2)", "error", err)
		}
		return func() {}
	}
	f.ring, f.gather = ring, make([]byte, 0, ringBytes)
	return f.dropRing
}

func (f *flusher) dropRing() {
	if f.ring == nil {
		return
	}
	if err := f.ring.Close(); err != nil {
		f.server.opts.Log.Warn("close the ring of a writer", "error", err)
	}
	f.ring = nil
}

// flushRing writes once to every connection of the batch, many in one call. One
// whose frames did not all fit goes behind the others, one without room waits
// for it as after any write.
func (f *flusher) flushRing() {
	arena := f.gather[:0]
	for _, c := range f.batch {
		if f.ring == nil { // it broke on the way
			f.flush(c)
			continue
		}
		if !f.prepare(c) {
			continue
		}
		if f.ring.Full() || cap(arena)-len(arena) < gatherBytes {
			f.submit()
			arena = f.gather[:0]
		}
		if f.ring == nil {
			f.settle(c, 0, unix.ECANCELED)
			continue
		}
		data, used := gather(arena[len(arena):], f.frames, f.offset)
		if used > 1 {
			arena = arena[:len(arena)+len(data)]
		}
		f.ring.Send(int(c.fd), data, len(f.flight))
		f.flight = append(f.flight, c)
	}
	if f.ring != nil {
		f.submit()
	}
	clear(f.frames)
	f.frames = f.frames[:0]
}

// submit performs the queued sends. If the ring breaks, it is not known what
// was sent on those without a result: their connections cannot go on.
func (f *flusher) submit() {
	err := f.ring.Submit(func(tag, n int, err error) {
		c := f.flight[tag]
		f.flight[tag] = nil
		f.tally.writes++
		if !f.settle(c, n, err) {
			f.mark(c) // not now: the kernel may still read what f has gathered
		}
	})
	if err != nil {
		f.server.opts.Log.Error("sockets are written with write(2) from now on", "error", err)
		f.dropRing()
		for _, c := range f.flight {
			if c != nil {
				f.settle(c, 0, unix.ECANCELED)
			}
		}
	}
	clear(f.flight)
	f.flight = f.flight[:0]
}
