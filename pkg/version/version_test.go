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

func TestTheLinkersVersionStays(t *testing.T) {
	linked, empty := "1.2.3", ""
	setDefault(&linked)
	setDefault(&empty)
	if linked != "1.2.3" || empty == "" || Version == "" {
		t.Errorf("got %q, %q and %q", linked, empty, Version)
	}
}
