package rpc

import (
	"errors"
	"fmt"
	"math"

	"github.com/skein-mesh/skein/pkg/cluster"
	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
	"github.com/skein-mesh/skein/services/presence/orders"
)

// Bounds of what a report says.
const (
	maxTextLen  = 255       // bytes of a text
	maxWeight   = 256       // what HAProxy takes, in percent
	maxCapacity = 1_000_000 // ten thousand times an edge of 100
)

// check says what is wrong with a report: it comes from the network, and what it
// says is shown to people, summed up and planned with.
func check(e *presencev1.Edge) error {
	switch {
	case e == nil:
		return errors.New("a report needs an edge")
	case e.GetIncarnation() == 0:
		return errors.New("an edge needs an incarnation")
	case len(e.GetVersion()) > maxTextLen || len(e.GetAddress()) > maxTextLen:
		return fmt.Errorf("version and address may have %d bytes", maxTextLen)
	case e.GetConnections() > math.MaxInt32 || e.GetChannels() > math.MaxInt64 || e.GetTopics() > math.MaxInt64:
		return errors.New("counts are larger than a process can have")
	case e.GetOpened() > math.MaxInt64 || e.GetMoved() > math.MaxInt64:
		return errors.New("totals are larger than a process can have")
	case max(e.GetUptimeMs(), e.GetWeightAgeMs(), e.GetPollAgeMs()) > math.MaxInt64/1_000_000:
		return errors.New("times are longer than a process can run")
	case e.GetWeight() > maxWeight || e.GetCapacity() > maxCapacity:
		return fmt.Errorf("weight may be %d and capacity %d, got %d and %d", maxWeight, maxCapacity, e.GetWeight(), e.GetCapacity())
	}
	for name, cores := range map[string]float64{"cpu": e.GetCpu(), "cpu_limit": e.GetCpuLimit()} {
		if math.IsNaN(cores) || math.IsInf(cores, 0) || cores < 0 {
			return fmt.Errorf("%s %v is not a number of cores", name, cores)
		}
	}
	for name, id := range map[string]string{"group": e.GetGroup(), "planner": e.GetPlanner()} {
		if id == "" {
			continue
		}
		if err := cluster.CheckID(id); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return errors.Join(cluster.CheckID(e.GetId()), orders.Check(e.GetOrders()))
}
