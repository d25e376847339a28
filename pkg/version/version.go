// Package version says which version of the software a process runs. The value
// travels in gossip, reports and metrics, so a fleet of mixed versions shows.
package version

import "runtime/debug"

// Version of this binary: what the linker set with
//
//	-ldflags "-X github.com/skein-mesh/skein/pkg/version.Version=1.2.3"
//
// else what the module or version control system recorded, else "dev". It is
// never changed after that.
var Version string //nolint:gochecknoglobals // the linker can only set a package variable

// The linker only sets variables that have no initializer of their own.
var _ = setDefault(&Version)

func setDefault(v *string) bool { //nolint:unparam // an initializer has a value
	if *v == "" {
		*v = unknown
		if info, ok := debug.ReadBuildInfo(); ok {
			*v = fromBuild(info)
		}
	}
	return true
}

const unknown = "dev"

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
