package report

import (
	"testing"
	"testing/fstest"
)

func TestCgroupLimit(t *testing.T) {
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	for name, c := range map[string]struct {
		files fstest.MapFS
		want  uint64
	}{
		"no cgroups": {fstest.MapFS{}, unlimited},
		"version 2, in a container": {fstest.MapFS{
			"proc/self/cgroup":         file("0::/\n"),
			"sys/fs/cgroup/memory.max": file("1048576\n"),
		}, 1 << 20},
		"version 2, a unit in a slice": {fstest.MapFS{
			"proc/self/cgroup":                                   file("0::/system.slice/edge.service\n"),
			"sys/fs/cgroup/system.slice/memory.max":              file("4096\n"),
			"sys/fs/cgroup/system.slice/edge.service/memory.max": file("max\n"),
		}, 4096},
		"version 2, a group that is not visible": {fstest.MapFS{
			"proc/self/cgroup":         file("0::/../../elsewhere\n"),
			"sys/fs/cgroup/memory.max": file("8192\n"),
		}, 8192},
		"version 1": {fstest.MapFS{
			"proc/self/cgroup": file("5:cpu,cpuacct:/a\n4:memory:/a\n0::/\n"),
			"sys/fs/cgroup/memory/a/memory.limit_in_bytes": file("2048\n"),
			"sys/fs/cgroup/memory/memory.limit_in_bytes":   file("9223372036854771712\n"),
		}, 2048},
		"no limit": {fstest.MapFS{
			"proc/self/cgroup":         file("0::/\n"),
			"sys/fs/cgroup/memory.max": file("max\n"),
		}, unlimited},
		"rubbish": {fstest.MapFS{
			"proc/self/cgroup":         file("\n:\n0::\nmemory\n"),
			"sys/fs/cgroup/memory.max": file("-1\n"),
		}, unlimited},
	} {
		if got := cgroupLimit(c.files); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

func TestMemoryLimitIsKnown(t *testing.T) {
	if got := MemoryLimit(); got < 1<<20 {
		t.Errorf("%d bytes", got)
	}
}

func FuzzCgroupLimit(f *testing.F) {
	f.Add("0::/a/b\n", "max")
	f.Add("4:memory:/\n", "4096")
	f.Fuzz(func(_ *testing.T, groups, limit string) {
		cgroupLimit(fstest.MapFS{
			"proc/self/cgroup":                           &fstest.MapFile{Data: []byte(groups)},
			"sys/fs/cgroup/memory.max":                   &fstest.MapFile{Data: []byte(limit)},
			"sys/fs/cgroup/memory/memory.limit_in_bytes": &fstest.MapFile{Data: []byte(limit)},
		})
	})
}
