// Package uring sends bytes on many sockets with one system call, through
// Linux's io_uring. It does nothing else: every send is attempted once, without
// waiting for room, and has its result when [Ring.Submit] returns. Whether the
// kernel, and the container's policy, allow it shows only when a ring is made.
package uring
