package kubernetes

import (
	"math"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
)

// pod is what has to be known of one.
type pod struct {
	name       string
	address    string // its IP; empty for none yet
	annotation string // the cost it carries; empty for none
}

// labelled is how an id begins that an edge made of its host's name, which in a
// pod is the pod's: see cluster.NewID.
var labelled = regexp.MustCompile(`^(.+)-[0-9a-f]{6}$`)

// longLabel is the length at which cluster.NewID cuts a host's name off.
const longLabel = 40

// match finds the edge of each pod, by index of the pod, and returns the ids of
// those that have none. A pod whose container was started again may show two
// edges for as long as the lease of the first: the later life counts.
func match(pods []pod, edges []*presencev1.Edge) (byPod map[int]*presencev1.Edge, strangers []string) {
	byPod = map[int]*presencev1.Edge{}
	find := newFinder(pods)
	for _, e := range edges {
		i, ok := find.pod(e)
		switch {
		case !ok:
			strangers = append(strangers, e.GetId())
		case byPod[i].GetIncarnation() <= e.GetIncarnation():
			byPod[i] = e
		}
	}
	return byPod, strangers
}

// finder finds pods by index.
type finder struct {
	pods      []pod
	byName    map[string]int
	byAddress map[string][]int
}

func newFinder(pods []pod) finder {
	f := finder{pods: pods, byName: map[string]int{}, byAddress: map[string][]int{}}
	for i, p := range pods {
		f.byName[p.name] = i
		if p.address != "" {
			f.byAddress[p.address] = append(f.byAddress[p.address], i)
		}
	}
	return f
}

// pod returns the index of the pod of e: the one that its id names, else the
// only one with its address. Pods in the network of their host share one.
func (f finder) pod(e *presencev1.Edge) (int, bool) {
	if i, ok := f.byName[e.GetId()]; ok {
		return i, true
	}
	if m := labelled.FindStringSubmatch(e.GetId()); m != nil {
		if i, ok := f.labelled(m[1]); ok {
			return i, true
		}
	}
	address, err := netip.ParseAddrPort(e.GetAddress())
	if err != nil {
		return 0, false
	}
	if same := f.byAddress[address.Addr().Unmap().String()]; len(same) == 1 {
		return same[0], true
	}
	return 0, false
}

// labelled returns the pod with the given name, or if that was cut off the only
// one that begins so.
func (f finder) labelled(name string) (int, bool) {
	if i, ok := f.byName[name]; ok {
		return i, true
	}
	if len(name) < longLabel {
		return 0, false
	}
	begins := func(p pod) bool { return strings.HasPrefix(p.name, name) }
	i := slices.IndexFunc(f.pods, begins)
	if i < 0 || slices.ContainsFunc(f.pods[i+1:], begins) {
		return 0, false
	}
	return i, true
}

// drained is the cost of an edge that drains: the least there is, so that
// nothing that people give other pods of the set by hand comes before it.
const drained = math.MinInt32

// cost returns the cost of deleting the pod of e.
func cost(e *presencev1.Edge) int32 {
	if e.GetState() == presencev1.EdgeState_EDGE_STATE_DRAINING {
		return drained
	}
	return int32(min(e.GetConnections(), math.MaxInt32))
}

// What a cost may be wrong by before it is worth a write.
const (
	slack      = 10
	slackShare = 0.05
)

// worth says whether a pod that carries the annotation should get the cost. What
// Kubernetes cannot read is replaced.
func worth(annotation string, cost int32) bool {
	was, err := strconv.ParseInt(annotation, 10, 32)
	if err != nil {
		return true
	}
	if (was < 0) != (cost < 0) {
		return true
	}
	difference := math.Abs(float64(int64(cost) - was))
	return difference > max(slack, slackShare*math.Abs(float64(was)))
}
