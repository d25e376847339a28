package rpc_test

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/skein-mesh/skein/pkg/cluster"
	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
	"github.com/skein-mesh/skein/services/presence/balance"
	"github.com/skein-mesh/skein/services/presence/load"
	"github.com/skein-mesh/skein/services/presence/orders"
	"github.com/skein-mesh/skein/services/presence/rpc"
)

// scripted is a planner whose decisions a test makes.
type scripted struct {
	// mu guards the fields below.
	mu      sync.Mutex
	made    int // planners so far: all are this one
	samples []balance.Sample
	applied int
	history []*presencev1.Record
	decide  func(balance.Sample) balance.Decision // nil wants the same of everybody
}

func (p *scripted) planner() rpc.Planner {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.made++
	return p
}

func (p *scripted) Step(s balance.Sample) balance.Decision {
	p.mu.Lock()
	p.samples = append(p.samples, s)
	decide := p.decide
	p.mu.Unlock()
	if decide == nil {
		decide = level
	}
	d := decide(s)
	if d.Status == nil {
		d.Status = &presencev1.Status{Phase: presencev1.Phase_PHASE_LEVEL, Plan: &presencev1.Plan{Reason: "scripted"}}
	}
	return d
}

func (p *scripted) Apply() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.applied++
}

func (p *scripted) History() []*presencev1.Record {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.history)
}

func (p *scripted) set(decide func(balance.Sample) balance.Decision) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.decide = decide
}

// ends lets the plan under way be over.
func (p *scripted) ends(r *presencev1.Record) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.history, p.decide = []*presencev1.Record{r}, nil
}

// counts returns how many planners and steps there were so far.
func (p *scripted) counts() (planners, steps int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.made, len(p.samples)
}

// last returns the sample of the last step.
func (p *scripted) last() balance.Sample {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.samples) == 0 {
		return balance.Sample{}
	}
	return p.samples[len(p.samples)-1]
}

// level moves everybody above 100 connections away, from whatever is reported.
func level(s balance.Sample) balance.Decision {
	hints := map[string]*presencev1.Hint{}
	for _, e := range s.Edges {
		surplus := max(e.GetConnections(), 100) - 100
		hints[e.GetId()] = &presencev1.Hint{Weight: 100, MovedUntil: e.GetMoved() + surplus}
	}
	return balance.Decision{Hints: hints}
}

// network connects instances to each other.
type network struct {
	t         *testing.T
	members   []cluster.Member
	instances map[string]*instance // by address
	scripts   map[string]*scripted // by id
}

// seen is what one instance sees of the network.
type seen struct {
	*network

	self cluster.Member
}

func (s seen) Self() cluster.Member      { return s.self }
func (s seen) Members() []cluster.Member { return s.members }

// instancesOf starts instances that know each other, none of them elected, with
// scripted planners.
func instancesOf(t *testing.T, ids ...string) (*network, []*instance) {
	t.Helper()
	scripts := map[string]*scripted{}
	n, all := instancesWith(t, func(id string) func() rpc.Planner {
		scripts[id] = &scripted{}
		return scripts[id].planner
	}, ids...)
	n.scripts = scripts
	return n, all
}

// instancesWith is instancesOf with other planners.
func instancesWith(t *testing.T, planner func(id string) func() rpc.Planner, ids ...string) (*network, []*instance) {
	t.Helper()
	n := &network{t: t, instances: map[string]*instance{}}
	for _, id := range ids {
		n.members = append(n.members, cluster.Member{
			ID: id, Incarnation: 1, Role: cluster.RolePresence, State: cluster.StateReady, Address: id + ":6000",
		})
	}
	var all []*instance
	for _, m := range n.members {
		i := startWith(t, rpc.Deps{Members: seen{n, m}, Dial: n.dial, NewPlanner: planner(m.ID)})
		n.instances[m.Address] = i
		all = append(all, i)
	}
	return n, all
}

func (n *network) dial(address string) (*grpc.ClientConn, error) {
	i := n.instances[address]
	if i == nil {
		return nil, errors.New("no way to " + address)
	}
	return i.dial(), nil
}

// life is one life of an edge that keeps orders and does what hints say.
type life struct {
	t *testing.T

	// Static after construction.
	balancer func(moved uint64) // sends clients that were moved elsewhere; nil loses them

	// mu guards the fields below.
	mu      sync.Mutex
	now     *presencev1.Edge
	told    time.Time                             // since when it tells its weight
	answers map[string]*presencev1.ReportResponse // the last of each instance
	hinted  time.Time                             // last, by the instance it follows
}

func newLife(t *testing.T, now *presencev1.Edge) *life {
	t.Helper()
	return &life{t: t, now: now, told: time.Now(), answers: map[string]*presencev1.ReportResponse{}}
}

// reports makes the edge report to an instance until its stream ends.
func (l *life) reports(i *instance) *edge {
	l.t.Helper()
	e := i.edge()
	say := func() error {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.endLease()
		l.now.WeightAgeMs = uint64(time.Since(l.told).Milliseconds())
		return e.stream.Send(&presencev1.ReportRequest{Edge: proto.CloneOf(l.now)})
	}
	if err := say(); err != nil {
		l.t.Fatal(err)
	}
	go func() {
		for say() == nil {
			select {
			case <-e.stream.Context().Done():
				return
			case <-time.After(time.Second):
			}
		}
	}()
	go func() {
		for {
			answer, err := e.stream.Recv()
			if err != nil {
				return
			}
			if l.take(answer) && say() != nil {
				return
			}
		}
	}()
	synctest.Wait()
	return e
}

// take does at once what an answer says; true if that is news to all instances.
func (l *life) take(answer *presencev1.ReportResponse) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.answers[answer.GetInstance()] = answer
	l.endLease()
	if h := answer.GetHint(); h != nil && (l.now.GetPlanner() == "" || answer.GetInstance() <= l.now.GetPlanner()) {
		l.follow(answer.GetInstance(), h)
	}
	if orders.Compare(answer.GetOrders(), l.now.GetOrders()) > 0 {
		l.now.Orders = answer.GetOrders()
		return true
	}
	return false
}

// endLease forgets hints that nobody renewed. The caller holds mu.
func (l *life) endLease() {
	if l.now.GetPlanner() != "" && time.Since(l.hinted) > load.Lease {
		l.now.Planner, l.now.Weight, l.told = "", 100, time.Now()
	}
}

// follow does what a hint says. The caller holds mu.
func (l *life) follow(instance string, h *presencev1.Hint) {
	l.now.Planner, l.hinted = instance, time.Now()
	if l.now.GetWeight() != h.GetWeight() {
		l.now.Weight, l.told = h.GetWeight(), time.Now()
	}
	moved := max(h.GetMovedUntil(), l.now.GetMoved()) - l.now.GetMoved()
	l.now.Connections -= moved
	l.now.Moved += moved
	if moved > 0 && l.balancer != nil {
		l.balancer(moved)
	}
}

// arrive adds connections.
func (l *life) arrive(n uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.now.Connections += n
	l.now.Opened += n
}

// answer returns what an instance said last.
func (l *life) answer(instance string) *presencev1.ReportResponse {
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.answers[instance]
}

func (l *life) state() *presencev1.Edge {
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	return proto.CloneOf(l.now)
}

func (i *instance) rebalance() presencev1.RebalanceServiceClient {
	return presencev1.NewRebalanceServiceClient(i.operator())
}
