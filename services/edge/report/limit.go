package report

import (
	"io/fs"
	"math"
	"os"
	"path"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/shirou/gopsutil/v4/mem"
)

// MemoryLimit is how many bytes this process may use: the least of what its
// cgroup, GOMEMLIMIT and the machine allow; 0 if none of them is known. It reads
// files.
func MemoryLimit() uint64 {
	least := cgroupLimit(os.DirFS("/"))
	if soft := debug.SetMemoryLimit(-1); soft < math.MaxInt64 { // -1 only reads
		least = min(least, uint64(max(soft, 0)))
	}
	if machine, err := mem.VirtualMemory(); err == nil {
		least = min(least, machine.Total)
	}
	if least == unlimited {
		return 0
	}
	return least
}

const unlimited = math.MaxUint64

// cgroupLimit is the least limit of the cgroups that the process is in, of either
// version, and of those around them.
func cgroupLimit(root fs.FS) uint64 {
	groups, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return unlimited
	}
	least := uint64(unlimited)
	for line := range strings.Lines(string(groups)) {
		// 0::/some/group, or 4:memory:/some/group in version 1
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) != 3 {
			continue
		}
		switch {
		case fields[0] == "0" && fields[1] == "":
			least = min(least, limitAbove(root, "sys/fs/cgroup", fields[2], "memory.max"))
		case fields[1] == "memory":
			least = min(least, limitAbove(root, "sys/fs/cgroup/memory", fields[2], "memory.limit_in_bytes"))
		}
	}
	return least
}

// limitAbove is the least that the file says in a group or in one around it. In a
// container the group may not be visible, but the mount point is its own.
func limitAbove(root fs.FS, mount, group, file string) uint64 {
	least := uint64(unlimited)
	for group = path.Clean("/" + group); ; group = path.Dir(group) {
		text, err := fs.ReadFile(root, path.Join(mount, group, file))
		if err == nil {
			if bytes, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64); err == nil { // "max" is no number
				least = min(least, bytes)
			}
		}
		if group == "/" {
			return least
		}
	}
}
