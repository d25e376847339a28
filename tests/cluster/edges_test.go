package cluster

import (
	"fmt"
	"slices"

	"github.com/skein-mesh/skein/pkg/telemetry"
	"github.com/skein-mesh/skein/services/edge"
)

// addEdge starts an edge on a host of its own.
func (c *fleet) addEdge(id string) *edgeNode {
	c.hosts++
	return c.startEdge(id, fmt.Sprintf("10.1.0.%d", c.hosts))
}

func (c *fleet) startEdge(id, host string) *edgeNode {
	c.t.Helper()
	cfg := edge.Default()
	cfg.ID, cfg.Delay, cfg.Routers = id, c.delay, []string{seedName}
	address, agent := host+":4000", host+":4002"
	e, err := edge.New(cfg, edge.Deps{
		Clients: c.network.listen(address), Agent: c.network.listen(agent), Dial: c.network.dialer(host), Seeds: c.directory("5000"), Usage: noUsage, Telemetry: telemetry.Nop(),
	})
	if err != nil {
		c.t.Fatal(err)
	}
	node := &edgeNode{process: c.start(host, e), Edge: e, id: id, clients: address, agent: agent}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.edges = append(c.edges, node)
	return node
}

// listed are the edges that run, for who is not the test.
func (c *fleet) listed() []*edgeNode {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.edges)
}

// forgetEdge takes an edge off the list of those that run.
func (c *fleet) forgetEdge(e *edgeNode) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.edges = slices.DeleteFunc(c.edges, func(o *edgeNode) bool { return o == e })
}

// restartEdge drains an edge and starts its next life on the same host. Until
// then balancers see that nobody answers there.
func (c *fleet) restartEdge(e *edgeNode) *edgeNode {
	c.t.Helper()
	e.end(c.t)
	c.forgetEdge(e)
	next := c.startEdge(e.id, e.host)
	next.awaitReady(c.t)
	return next
}

// killEdge ends an edge as kill -9 does.
func (c *fleet) killEdge(e *edgeNode) {
	c.t.Helper()
	c.network.kill(e.host)
	c.forgetEdge(e)
	for _, r := range c.routers {
		c.network.cut(e.host, r.host, true)
	}
	for _, p := range c.presence {
		c.network.cut(e.host, p.host, true)
	}
	e.cancel()
	c.t.Cleanup(func() { <-e.done })
}

// killPresence ends an instance as kill -9 does.
func (c *fleet) killPresence(p *presenceNode) {
	c.t.Helper()
	c.gossip.Isolate(p.gossip)
	c.network.kill(p.host)
	c.presence = slices.DeleteFunc(c.presence, func(o *presenceNode) bool { return o == p })
	p.cancel()
	c.t.Cleanup(func() { <-p.done })
}
