package kubernetes

import (
	"math"
	"slices"
	"strconv"
	"testing"

	"pgregory.net/rapid"

	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
)

func TestEdgeToPod(t *testing.T) {
	const long = "a-release-with-a-long-name-skein-edge-7d9f8b6c5"
	pods := []pod{
		{name: "skein-edge-0", address: "10.0.0.1"},
		{name: "skein-edge-1", address: "10.0.0.2"},
		{name: "skein-edge-1-0a1b2c", address: "10.0.0.3"},
		{name: long + "-abcde", address: "10.0.0.4"},
		{name: "skein-edge-twin-of-the-one-with-a-long-name-1", address: "fd00::5"},
		{name: "skein-edge-twin-of-the-one-with-a-long-name-2", address: "10.0.0.6"},
		{name: "host-a", address: "10.0.0.7"},
		{name: "host-b", address: "10.0.0.7"},
		{name: "no-address-yet"},
	}
	for _, c := range []struct {
		what, id, address, want string
	}{
		{"the pod's name", "skein-edge-0", "", "skein-edge-0"},
		{"the host's name and a suffix", "skein-edge-0-0a1b2c", "", "skein-edge-0"},
		{"a name that looks like one with a suffix", "skein-edge-1-0a1b2c", "", "skein-edge-1-0a1b2c"},
		{"the name wins over the address", "skein-edge-0", "10.0.0.2:4000", "skein-edge-0"},
		{"a long name, cut off", long[:longLabel] + "-0a1b2c", "", long + "-abcde"},
		{"a long name that two pods begin with", "skein-edge-twin-of-the-one-with-a-long-n-0a1b2c", "", ""},
		{"the same, with an address", "skein-edge-twin-of-the-one-with-a-long-n-0a1b2c", "[fd00::5]:4000", "skein-edge-twin-of-the-one-with-a-long-name-1"},
		{"a short name is not cut off", "skein-0a1b2c", "", ""},
		{"an id of the operator's", "blue", "10.0.0.2:4000", "skein-edge-1"},
		{"an IPv4 address in IPv6", "blue", "[::ffff:10.0.0.2]:4000", "skein-edge-1"},
		{"an address of two pods", "blue", "10.0.0.7:4000", ""},
		{"every address", "blue", "[::]:4000", ""},
		{"no address at all", "blue", "edge:4000", ""},
	} {
		t.Run(c.what, func(t *testing.T) {
			byPod, strangers := match(pods, []*presencev1.Edge{{Id: c.id, Address: c.address}})
			got := ""
			for i := range byPod {
				got = pods[i].name
			}
			if got != c.want {
				t.Errorf("got pod %q, want %q", got, c.want)
			}
			if missing := slices.Equal(strangers, []string{c.id}); missing != (c.want == "") {
				t.Errorf("without a pod: %v", strangers)
			}
		})
	}
}

func TestLaterLifeOfAPodCounts(t *testing.T) {
	now := &presencev1.Edge{Id: "edge-0-bbbbbb", Incarnation: 2}
	before := &presencev1.Edge{Id: "edge-0-cccccc", Incarnation: 1}
	for _, edges := range [][]*presencev1.Edge{{now, before}, {before, now}} {
		if byPod, _ := match([]pod{{name: "edge-0"}}, edges); byPod[0] != now {
			t.Errorf("got %v", byPod[0])
		}
	}
}

func TestCost(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		states := []presencev1.EdgeState{presencev1.EdgeState_EDGE_STATE_STARTING, presencev1.EdgeState_EDGE_STATE_READY}
		connections := rapid.Uint64().Draw(t, "connections")
		serving := cost(&presencev1.Edge{Connections: connections, State: rapid.SampledFrom(states).Draw(t, "state")})
		if serving < 0 || uint64(serving) != min(connections, math.MaxInt32) {
			t.Errorf("%d connections cost %d", connections, serving)
		}
		draining := cost(&presencev1.Edge{Connections: connections, State: presencev1.EdgeState_EDGE_STATE_DRAINING})
		if draining >= serving {
			t.Errorf("draining costs %d, serving %d", draining, serving)
		}
	})
}

func TestWorth(t *testing.T) {
	for _, c := range []struct {
		annotation string
		cost       int32
		want       bool
	}{
		{"", 0, true},
		{"many", 5, true},
		{"4294967296", math.MaxInt32, true},
		{"0", 0, false},
		{"0", 10, false},
		{"0", 11, true},
		{"100", 90, false},
		{"100", 89, true},
		{"1000", 1050, false},
		{"1000", 1051, true},
		{"1000", 949, true},
		{"0", drained, true},
		{"-1", 3, true},
		{"-2147483648", 3, true},
		{"-2147483648", drained, false},
		{"2147483647", math.MaxInt32, false},
	} {
		if got := worth(c.annotation, c.cost); got != c.want {
			t.Errorf("%q to %d: got %t", c.annotation, c.cost, got)
		}
	}
}

// TestAnnotationStaysNear writes what is worth it, and looks how far off the
// annotation is after each step.
func TestAnnotationStaysNear(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		annotation := ""
		for _, want := range rapid.SliceOf(rapid.Int32Min(0)).Draw(t, "costs") {
			if worth(annotation, want) {
				annotation = strconv.Itoa(int(want))
			}
			if worth(annotation, want) && annotation == strconv.Itoa(int(want)) {
				t.Fatalf("%s is written again and again", annotation)
			}
			was, err := strconv.Atoi(annotation)
			if err != nil {
				t.Fatal(err)
			}
			if off := math.Abs(float64(was) - float64(want)); off > max(10, 0.05*float64(was)) {
				t.Fatalf("%d says %s", want, annotation)
			}
		}
	})
}
