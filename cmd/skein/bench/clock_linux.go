package bench

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// cpuTime is what a process has used so far, by its clock of nanoseconds: /proc
// counts hundredths of a second.
func cpuTime(pid int) (time.Duration, error) {
	const scheduler = 2 // the kernel's CPUCLOCK_SCHED: user and system time of all threads
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|scheduler), &t); err != nil {
		return 0, fmt.Errorf("CPU clock of process %d: %w", pid, err)
	}
	return time.Duration(t.Nano()), nil
}
