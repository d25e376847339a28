package version

import (
	"runtime/debug"
	"testing"
)

func TestFromBuild(t *testing.T) {
	vcs := func(commit, modified string) []debug.BuildSetting {
		return []debug.BuildSetting{{Key: "vcs.revision", Value: commit}, {Key: "vcs.modified", Value: modified}}
	}
	for _, c := range []struct {
		name string
		info debug.BuildInfo
		want string
	}{
		{"released module", debug.BuildInfo{Main: debug.Module{Version: "v1.2.3"}}, "v1.2.3"},
		{"nothing known", debug.BuildInfo{Main: debug.Module{Version: "(devel)"}}, "dev"},
		{"clean tree", debug.BuildInfo{Settings: vcs("0123456789abcdef", "false")}, "dev-0123456789ab"},
		{"modified tree", debug.BuildInfo{Settings: vcs("0123456789abcdef", "true")}, "dev-0123456789ab-modified"},
		{"short commit", debug.BuildInfo{Settings: vcs("0123", "false")}, "dev-0123"},
	} {
		if got := fromBuild(&c.info); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

func TestResolve(t *testing.T) {
	if got := resolve("1.2.3"); got != "1.2.3" {
		t.Errorf("the linker's version was not taken: %q", got)
	}
	if Version == "" {
		t.Error("empty version")
	}
}
