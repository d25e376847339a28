package bench

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// ticksPerSecond is the unit of CPU time in /proc, the same on every Linux.
const ticksPerSecond = 100

// process is one that is measured.
type process struct {
	name string
	pid  int
}

// parsePids reads "PID" or "NAME=PID". A missing name is left empty.
func parsePids(values []string) ([]process, error) {
	var list []process
	var errs []error
	for _, v := range values {
		name, number, named := strings.Cut(v, "=")
		if !named {
			name, number = "", v
		}
		pid, err := strconv.Atoi(number)
		if err != nil || pid <= 0 {
			errs = append(errs, fmt.Errorf("%q is not PID or NAME=PID", v))
			continue
		}
		list = append(list, process{name, pid})
	}
	return list, errors.Join(errs...)
}

// usage is what a process has used up to a moment.
type usage struct {
	cpu time.Duration
	rss uint64 // bytes now
}

// read looks a process up in /proc.
func (p process) read() (usage, error) {
	return readUsage(filepath.Join("/proc", strconv.Itoa(p.pid)))
}

func readUsage(folder string) (usage, error) {
	stat, err := os.ReadFile(filepath.Join(folder, "stat")) //nolint:gosec // of /proc
	if err != nil {
		return usage{}, fmt.Errorf("measure process: %w", err)
	}
	cpu, err := parseStat(stat)
	if err != nil {
		return usage{}, err
	}
	statm, err := os.ReadFile(filepath.Join(folder, "statm")) //nolint:gosec // of /proc
	if err != nil {
		return usage{}, fmt.Errorf("measure process: %w", err)
	}
	fields := bytes.Fields(statm)
	if len(fields) < 2 {
		return usage{}, fmt.Errorf("measure process: statm is %q", statm)
	}
	pages, err := strconv.ParseUint(string(fields[1]), 10, 64)
	if err != nil {
		return usage{}, fmt.Errorf("measure process: %w", err)
	}
	return usage{cpu, pages * uint64(os.Getpagesize())}, nil
}

// parseStat reads user and system time from /proc/PID/stat. The name of the
// program, in parentheses, may hold anything.
func parseStat(stat []byte) (time.Duration, error) {
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	const user, system = 11, 12 // counted from the field behind the name
	if len(fields) <= system {
		return 0, fmt.Errorf("measure process: stat is %q", stat)
	}
	u, err1 := strconv.ParseUint(string(fields[user]), 10, 64)
	s, err2 := strconv.ParseUint(string(fields[system]), 10, 64)
	if err := errors.Join(err1, err2); err != nil {
		return 0, fmt.Errorf("measure process: %w", err)
	}
	return time.Duration(u+s) * time.Second / ticksPerSecond, nil
}

// label is the process's name, or what the kernel calls it.
func (p process) label() string {
	if p.name != "" {
		return p.name
	}
	comm, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(p.pid), "comm"))
	if err != nil {
		return strconv.Itoa(p.pid)
	}
	return strings.TrimSpace(string(comm))
}

// watch measures several processes between two moments.
type watch struct {
	processes []process
	before    []usage
}

// startWatch takes the first measure; all of them must exist.
func startWatch(processes []process) (*watch, error) {
	w := &watch{processes: processes}
	for _, p := range processes {
		u, err := p.read()
		if err != nil {
			return nil, err
		}
		w.before = append(w.before, u)
	}
	return w, nil
}

// stop takes the second. operations is what the processes did between the two,
// sockets what they hold now and did not before. A process may have ended: a run
// in which one is killed is worth its other numbers.
func (w *watch) stop(operations, sockets int) []Process {
	list := []Process{}
	for i, p := range w.processes {
		after, err := p.read()
		if err != nil {
			list = append(list, Process{Name: p.label(), PID: p.pid, Ended: true})
			continue
		}
		list = append(list, account(p.label(), p.pid, [2]usage{w.before[i], after}, [2]int{operations, sockets}))
	}
	return list
}

// account compares two measures, over a number of operations and of sockets.
func account(name string, pid int, u [2]usage, n [2]int) Process {
	line := Process{Name: name, PID: pid, RSSBytes: u[1].rss, CPUSeconds: (u[1].cpu - u[0].cpu).Seconds()}
	if n[0] > 0 {
		line.CPUMicrosPerOperation = line.CPUSeconds * 1e6 / float64(n[0])
	}
	if n[1] > 0 {
		line.BytesPerSocket = (float64(u[1].rss) - float64(u[0].rss)) / float64(n[1])
	}
	return line
}
