package node_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/skein-mesh/skein/pkg/bubble"
	"github.com/skein-mesh/skein/pkg/cluster"
	"github.com/skein-mesh/skein/pkg/node"
	"github.com/skein-mesh/skein/pkg/telemetry"
	meshv1 "github.com/skein-mesh/skein/proto/gen/skein/mesh/v1"
)

// gossiping is a membership without a key.
type gossiping struct{ cluster.Membership }

func (gossiping) Gossip() cluster.Gossip { return cluster.Gossip{Loopback: true} }

func TestDescribe(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		n := node.New(node.Options{
			ID: "r1", Incarnation: 7, Service: "router", Version: "1.2.0", Telemetry: telemetry.Nop(), Membership: gossiping{},
		})
		time.Sleep(time.Minute) // virtual time
		got := n.Describe()
		if at := got.GetClock().AsTime(); !at.Equal(time.Now()) {
			t.Errorf("the clock says %s", at)
		}
		got.Clock = nil
		want := &meshv1.NodeInfo{
			Id: "r1", Incarnation: 7, Service: "router", Version: "1.2.0", UptimeMs: 60_000,
			LogLevel: &meshv1.LogLevel{Level: "info", Configured: "info"}, Gossip: &meshv1.Gossip{Loopback: true},
		}
		if !proto.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		if n := node.New(node.Options{Telemetry: telemetry.Nop(), Membership: cluster.NewRegistry().Member(cluster.Member{})}); n.Describe().GetGossip() != nil {
			t.Error("a process that does not gossip says how")
		}
	})
}

func TestSetLogLevel(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		var log strings.Builder
		tel, err := telemetry.New(t.Context(), telemetry.Default(), telemetry.Identity{ID: "r1"}, &log)
		if err != nil {
			t.Fatal(err)
		}
		n := node.New(node.Options{ID: "r1", Telemetry: tel})
		set := func(level string, d time.Duration) *meshv1.LogLevel {
			got, err := n.SetLogLevel(t.Context(), &meshv1.SetLogLevel{Level: level, ForMs: uint64(d.Milliseconds()), By: "ada"})
			if err != nil {
				t.Fatal(err)
			}
			return got
		}
		got := set("debug", 0)
		if got.GetLevel() != "debug" || got.GetConfigured() != "info" || time.Until(got.GetUntil().AsTime()) != 5*time.Minute {
			t.Errorf("got %v", got)
		}
		time.Sleep(5*time.Minute + time.Millisecond) // virtual time
		if got := n.LogLevel(); got.GetLevel() != "info" || got.GetUntil() != nil {
			t.Errorf("after its time: %v", got)
		}
		set("error", time.Hour)
		if got := set("", 0); got.GetLevel() != "info" || got.GetUntil() != nil {
			t.Errorf("back again: %v", got)
		}
		if strings.Count(log.String(), `"by":"ada"`) != 3 {
			t.Errorf("logged %s", log.String())
		}
		for _, bad := range []*meshv1.SetLogLevel{{Level: "loud"}, {Level: "debug", ForMs: 999}, {Level: "debug", ForMs: 1 << 63}} {
			if _, err := n.SetLogLevel(t.Context(), bad); err == nil {
				t.Errorf("%v was taken", bad)
			}
		}
	})
}

func TestSetSampling(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		var log strings.Builder
		cfg := telemetry.Default()
		cfg.TraceTopics = []string{"room:1=0.5"}
		tel, err := telemetry.New(t.Context(), cfg, telemetry.Identity{ID: "r1"}, &log)
		if err != nil {
			t.Fatal(err)
		}
		n := node.New(node.Options{ID: "r1", Telemetry: tel, Entered: true})
		configured := &meshv1.Sampling{Ratio: 0.01, Topics: []*meshv1.TopicRatio{{Topics: "room:1", Ratio: 0.5}}}
		check := func(got, want *meshv1.Sampling) {
			t.Helper()
			if !proto.Equal(got, want) {
				t.Errorf("got %v, want %v", got, want)
			}
		}
		set := func(ratio *float64, d time.Duration) *meshv1.Sampling {
			got, err := n.SetSampling(t.Context(), &meshv1.SetSampling{Topics: "room:1", Ratio: ratio, ForMs: uint64(d.Milliseconds()), By: "ada"})
			if err != nil {
				t.Fatal(err)
			}
			return got
		}
		check(n.Describe().GetSampling(), configured)
		until := timestamppb.New(time.Now().Add(5 * time.Minute))
		check(set(new(0.0), 0), &meshv1.Sampling{Ratio: 0.01, Topics: []*meshv1.TopicRatio{{Topics: "room:1", Until: until}}})
		time.Sleep(5 * time.Minute) // virtual time
		check(n.Sampling(), configured)
		set(new(1.0), time.Hour)
		check(set(nil, 0), configured)
		if strings.Count(log.String(), `"by":"ada"`) != 3 {
			t.Errorf("logged %s", log.String())
		}
		for _, bad := range []*meshv1.SetSampling{
			{Ratio: new(1.0)}, {Topics: "a", Ratio: new(1.1)}, {Topics: "a", Ratio: new(math.NaN())},
			{Topics: "a", Ratio: new(1.0), ForMs: 999}, {Topics: "a", ForMs: 1 << 63},
		} {
			if _, err := n.SetSampling(t.Context(), bad); err == nil {
				t.Errorf("%v was taken", bad)
			}
		}
	})
}
