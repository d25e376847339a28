package uring_test

import (
	"bytes"
	"errors"
	"runtime"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/skein-mesh/skein/services/edge/socket/uring"
)

// ring makes a ring, or ends a test where the kernel has none: then there is
// nothing here that could be used either.
func ring(t *testing.T, entries int) *uring.Ring {
	t.Helper()
	r, err := uring.New(entries)
	if err != nil {
		t.Logf("no io_uring here: %v", err)
		return nil
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func pair(t *testing.T) (ours, theirs int) {
	t.Helper()
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = unix.Close(p[0])
		_ = unix.Close(p[1])
	})
	return p[0], p[1]
}

type result struct {
	n   int
	err error
}

func submit(t *testing.T, r *uring.Ring) map[int]result {
	t.Helper()
	got := map[int]result{}
	if err := r.Submit(func(tag, n int, err error) { got[tag] = result{n, err} }); err != nil {
		t.Fatal(err)
	}
	return got
}

// Several times around the ring, each socket gets its own bytes.
func TestSend(t *testing.T) {
	r := ring(t, 8)
	if r == nil {
		return
	}
	const sockets = 5
	var ours, theirs [sockets]int
	for i := range sockets {
		ours[i], theirs[i] = pair(t)
	}
	for round := range 20 {
		for i, fd := range ours {
			if r.Full() {
				t.Fatal("full too early")
			}
			r.Send(fd, bytes.Repeat([]byte{byte(i)}, round+1), i)
		}
		got := submit(t, r)
		for i, fd := range theirs {
			buf := make([]byte, 100)
			n, err := unix.Read(fd, buf)
			if err != nil || n != round+1 || got[i] != (result{n: n}) || buf[0] != byte(i) {
				t.Fatalf("round %d, socket %d: read %d, %v, result %+v", round, i, n, err, got[i])
			}
		}
	}
}

func TestFull(t *testing.T) {
	r := ring(t, 4)
	if r == nil {
		return
	}
	fd, _ := pair(t)
	for i := range 4 {
		r.Send(fd, []byte("x"), i)
	}
	if !r.Full() {
		t.Error("four of four entries, and not full")
	}
	if got := submit(t, r); len(got) != 4 || r.Full() {
		t.Errorf("got %v, full %t", got, r.Full())
	}
}

// Nothing waits for a reader; a large send is cut short, the next refused.
func TestNoRoom(t *testing.T) {
	r := ring(t, 4)
	if r == nil {
		return
	}
	full, _ := pair(t)
	free, _ := pair(t)
	large := make([]byte, 64<<20)
	r.Send(full, large, 1)
	if got := submit(t, r)[1]; got.err != nil || got.n <= 0 || got.n >= len(large) {
		t.Fatalf("a send over the buffer: %+v", got)
	}
	r.Send(full, large, 2)
	r.Send(free, []byte("hi"), 3)
	got := submit(t, r)
	if !errors.Is(got[2].err, unix.EAGAIN) || got[3] != (result{n: 2}) {
		t.Errorf("got %+v", got)
	}
}

func TestErrors(t *testing.T) {
	r := ring(t, 4)
	if r == nil {
		return
	}
	broken, other := pair(t)
	if err := unix.Shutdown(other, unix.SHUT_RDWR); err != nil {
		t.Fatal(err)
	}
	free, _ := pair(t)
	r.Send(broken, []byte("x"), 1)
	r.Send(-1, []byte("x"), 2)
	r.Send(free, []byte("x"), 3)
	got := submit(t, r)
	if !errors.Is(got[1].err, unix.EPIPE) || !errors.Is(got[2].err, unix.EBADF) || got[3] != (result{n: 1}) {
		t.Errorf("got %+v", got)
	}
}

// The collector may run while the ring is the only one that knows the bytes.
func TestCollector(t *testing.T) {
	r := ring(t, 16)
	if r == nil {
		return
	}
	fd, theirs := pair(t)
	for round := range 200 {
		b := bytes.Repeat([]byte{byte(round)}, 4096)
		r.Send(fd, b, 0)
		addr := uintptr(unsafe.Pointer(&b[0]))
		runtime.GC()
		for range 16 { // would take the place of b
			if c := make([]byte, 4096); uintptr(unsafe.Pointer(&c[0])) == addr {
				t.Fatal("the bytes were collected")
			}
		}
		submit(t, r)
		buf := make([]byte, 4096)
		if n, err := unix.Read(theirs, buf); err != nil || n != 4096 || buf[4095] != byte(round) {
			t.Fatalf("read %d, %v", n, err)
		}
	}
}
