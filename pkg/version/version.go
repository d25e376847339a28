// Package version says which version of the software a process runs. The value
// travels in gossip, reports and metrics, so a fleet of mixed versions shows.
package version

import "runtime/debug"

// linked is set by the linker:
//
//	-ldflags "-X github.com/skein-mesh/skein/pkg/version.linked=1.2.3"
var linked string //nolint:gochecknoglobals // the linker can only set a package variable

// Version of this binary: what the linker set, else what the module or version
// control system recorded, else "dev". It is never changed.
var Version = resolve(linked) //nolint:gochecknoglobals // a constant in all but the linker's eyes

const unknown = "dev"

func resolve(linked string) string {
	if linked != "" {
		return linked
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return unknown
	}
	return fromBuild(info)
}

// fromBuild names a build that the linker did not: a released module by its
// version, a working tree by its commit.
func fromBuild(info *debug.BuildInfo) string {
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	commit, modified := "", false
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			commit = s.Value
		case "vcs.modified":
			modified = s.Value == "true"
		}
	}
	if commit == "" {
		return unknown
	}
	name := unknown + "-" + commit[:min(12, len(commit))]
	if modified {
		name += "-modified"
	}
	return name
}
