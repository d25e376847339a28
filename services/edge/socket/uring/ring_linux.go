package uring

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Constants of the kernel's interface, include/uapi/linux/io_uring.h.
const (
	opSend = 26

	setupSubmitAll = 1 << 7 // a bad entry does not stop those behind it

	featSingleMmap = 1 << 0

	enterGetEvents = 1 << 0

	offRings = 0
	offSQEs  = 0x10000000
)

// params is struct io_uring_params.
type params struct {
	sqEntries, cqEntries, flags, sqThreadCPU, sqThreadIdle, features, wqFD uint32
	_                                                                      [3]uint32

	sq struct {
		head, tail, mask, entries, flags, dropped, array, _ uint32
		_                                                   uint64
	}
	cq struct {
		head, tail, mask, entries, overflow, cqes, flags, _ uint32
		_                                                   uint64
	}
}

// sqe is struct io_uring_sqe, as a send uses it.
type sqe struct {
	opcode, flags uint8
	ioprio        uint16
	fd            int32
	off, addr     uint64
	len, msgFlags uint32
	userData      uint64
	_             [3]uint64
}

// cqe is struct io_uring_cqe.
type cqe struct {
	userData uint64
	res      int32
	flags    uint32
}

// Ring is an io_uring. One goroutine at a time uses it, on any thread: the modes
// that bind a ring to a thread make large batches a little cheaper, but every
// wake-up of a goroutine that is locked to one dearer.
type Ring struct {
	fd   int
	ring []byte // both queues, shared with the kernel
	sqes []byte // likewise

	entries        []sqe
	completions    []cqe
	sqTail         *uint32
	cqHead, cqTail *uint32
	cqMask         uint32
	queued         int      // entries that the kernel does not know yet
	pinned         [][]byte // keeps what the kernel reads from being collected
}

// New makes a ring for so many sends at a time, which must be a power of two,
// and tries it out.
func New(entries int) (*Ring, error) {
	p := params{flags: setupSubmitAll}
	fd, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, uintptr(entries), uintptr(unsafe.Pointer(&p)), 0) //nolint:gosec // the kernel's interface
	if errno != 0 {
		return nil, os.NewSyscallError("io_uring_setup", errno)
	}
	r := &Ring{fd: int(fd)}
	if err := r.mmap(p); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	if err := r.probe(); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

func (r *Ring) mmap(p params) error {
	if p.features&featSingleMmap == 0 {
		return errors.New("io_uring: kernel too old")
	}
	size := max(p.sq.array+p.sqEntries*4, p.cq.cqes+p.cqEntries*uint32(unsafe.Sizeof(cqe{})))
	var err error
	if r.ring, err = r.share(offRings, int(size)); err != nil {
		return err
	}
	if r.sqes, err = r.share(offSQEs, int(p.sqEntries)*int(unsafe.Sizeof(sqe{}))); err != nil {
		return err
	}
	at := func(offset uint32) unsafe.Pointer { return unsafe.Pointer(&r.ring[offset]) } //nolint:gosec // the kernel's interface
	r.sqTail, r.cqHead, r.cqTail = (*uint32)(at(p.sq.tail)), (*uint32)(at(p.cq.head)), (*uint32)(at(p.cq.tail))
	r.cqMask = *(*uint32)(at(p.cq.mask))
	r.entries = unsafe.Slice((*sqe)(unsafe.Pointer(&r.sqes[0])), p.sqEntries) //nolint:gosec // the kernel's interface
	r.completions = unsafe.Slice((*cqe)(at(p.cq.cqes)), p.cqEntries)          //nolint:gosec // the kernel's interface
	// The queue holds indexes of entries: entry i is always in place i.
	for i, indexes := uint32(0), unsafe.Slice((*uint32)(at(p.sq.array)), p.sqEntries); i < p.sqEntries; i++ { //nolint:gosec // likewise
		indexes[i] = i
	}
	return nil
}

func (r *Ring) share(offset int64, size int) ([]byte, error) {
	b, err := unix.Mmap(r.fd, offset, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	return b, os.NewSyscallError("mmap", err)
}

// probe sends a byte through a pair of sockets.
func (r *Ring) probe() error {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socketpair", err)
	}
	defer func() {
		_ = unix.Close(pair[0]) // it was a test
		_ = unix.Close(pair[1]) // likewise
	}()
	sent := 0
	r.Send(pair[0], []byte{1}, 0)
	err = r.Submit(func(_ int, n int, failed error) { sent, err = n, failed })
	if err == nil && sent != 1 {
		err = errors.New("io_uring: a send has no effect")
	}
	return err
}

// Full reports whether [Ring.Submit] must come before the next send.
func (r *Ring) Full() bool { return r.queued == len(r.entries) }

// Send queues one send; the ring must not be full. b must not change, nor fd be
// closed, until Submit has returned. tag comes back with the result. No more
// than one send per descriptor may be queued: their order is not certain.
func (r *Ring) Send(fd int, b []byte, tag int) {
	index := (int(*r.sqTail) + r.queued) & (len(r.entries) - 1)
	r.entries[index] = sqe{
		opcode:   opSend,
		fd:       int32(fd),                                            //nolint:gosec // a descriptor
		addr:     uint64(uintptr(unsafe.Pointer(unsafe.SliceData(b)))), //nolint:gosec // the kernel's interface
		len:      uint32(len(b)),                                       //nolint:gosec // a buffer
		msgFlags: unix.MSG_DONTWAIT | unix.MSG_NOSIGNAL,
		userData: uint64(tag), //nolint:gosec // comes back as it is
	}
	r.pinned = append(r.pinned, b)
	r.queued++
}

// Submit performs every queued send and calls done for each, with the bytes
// that were sent, or an error: [unix.EAGAIN] if there was no room at all. After
// an error of its own the ring must not be used again, and the sends for which
// done was not called may or may not have happened.
func (r *Ring) Submit(done func(tag, n int, err error)) error {
	defer func() {
		runtime.KeepAlive(r.pinned)
		clear(r.pinned)
		r.pinned = r.pinned[:0]
	}()
	atomic.AddUint32(r.sqTail, uint32(r.queued)) //nolint:gosec // at most len(entries)
	pending, unknown := r.queued, r.queued
	r.queued = 0
	for pending > 0 {
		n, _, errno := unix.Syscall6(unix.SYS_IO_URING_ENTER,
			uintptr(r.fd), uintptr(unknown), uintptr(pending), enterGetEvents, 0, 0)
		switch errno {
		case 0:
			unknown -= int(n)
		case unix.EINTR, unix.EAGAIN, unix.EBUSY:
		default:
			return os.NewSyscallError("io_uring_enter", errno)
		}
		pending -= r.reap(done)
	}
	return nil
}

// reap takes the results that are there and says how many.
func (r *Ring) reap(done func(tag, n int, err error)) (count int) {
	head, tail := *r.cqHead, atomic.LoadUint32(r.cqTail)
	for ; head != tail; head++ {
		c := r.completions[head&r.cqMask]
		atomic.StoreUint32(r.cqHead, head+1)
		count++
		if c.res < 0 {
			done(int(c.userData), 0, unix.Errno(-c.res)) //nolint:gosec // as it was given
			continue
		}
		done(int(c.userData), int(c.res), nil) //nolint:gosec // as it was given
	}
	return count
}

// Close frees the ring.
func (r *Ring) Close() error {
	var errs []error
	for _, b := range [][]byte{r.ring, r.sqes} {
		if b != nil {
			errs = append(errs, unix.Munmap(b))
		}
	}
	errs = append(errs, unix.Close(r.fd))
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close ring: %w", err)
	}
	return nil
}
