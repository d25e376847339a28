package report

import (
	"fmt"
	"os"
	"time"

	"github.com/shirou/gopsutil/v4/process"
)

// Process returns a function that reads what this process has used: CPU time
// since it started, and resident memory.
func Process() (func() (cpu time.Duration, memory uint64, err error), error) {
	self, err := process.NewProcess(int32(os.Getpid())) //nolint:gosec // process ids are small
	if err != nil {
		return nil, fmt.Errorf("find this process: %w", err)
	}
	return func() (time.Duration, uint64, error) {
		times, err := self.Times()
		if err != nil {
			return 0, 0, fmt.Errorf("read CPU time: %w", err)
		}
		memory, err := self.MemoryInfo()
		if err != nil {
			return 0, 0, fmt.Errorf("read memory: %w", err)
		}
		seconds := times.User + times.System
		return time.Duration(seconds * float64(time.Second)), memory.RSS, nil
	}, nil
}

// meter turns totals into rates.
type meter struct {
	read func() (cpu time.Duration, memory uint64, err error)
	cpu  time.Duration // at the last measurement
	at   time.Time     // of the last measurement, zero before
}

// measure returns the usage since the last measurement; the first has no rate.
func (m *meter) measure(now time.Time) (usage, error) {
	cpu, memory, err := m.read()
	if err != nil {
		return usage{}, err
	}
	u := usage{memory: memory}
	if passed := now.Sub(m.at); !m.at.IsZero() && passed > 0 {
		u.cpu = max(0, (cpu-m.cpu).Seconds()/passed.Seconds())
	}
	m.cpu, m.at = cpu, now
	return u, nil
}
