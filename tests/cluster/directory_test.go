package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/skein-mesh/skein/pkg/cluster/clustertest"
	"github.com/skein-mesh/skein/pkg/cluster/seeds"
)

// directory is a strategy that says where the routers are that run now, at a
// port of theirs; nil if this fleet has none.
func (c *fleet) directory(port string) seeds.Strategy {
	if !c.size.directory {
		return nil
	}
	return seeds.Func(func(context.Context) ([]string, error) {
		var list []string
		for _, address := range c.network.named() {
			host, _, err := net.SplitHostPort(address)
			if err != nil {
				return nil, err
			}
			list = append(list, net.JoinHostPort(host, port))
		}
		if len(list) == 0 {
			return nil, errors.New("the directory is empty")
		}
		return list, nil
	})
}

// named are the addresses of the routers that run.
func (n *network) named() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.names)
}

// Every router is killed and comes back with another name and another address.
// Nobody is told: members and edges ask the directory, and the sockets stay.
func TestAllRoutersComeBackElsewhere(t *testing.T) {
	run(t, size{edges: 2, routers: 3, presence: 1, directory: true}, func(c *fleet) {
		clients := c.joined(topic)
		before := c.network.named()
		for _, r := range slices.Clone(c.routers) {
			c.kill(r)
		}
		time.Sleep(2 * time.Second) // virtual time
		for i := range 3 {
			c.addRouter(fmt.Sprint("again", i+1))
		}
		for _, address := range c.network.named() {
			if slices.Contains(before, address) {
				t.Errorf("%s is not another address", address)
			}
		}
		c.settled(3)
		for _, e := range c.edges {
			eventually(t, 15*time.Second, "the edge adopted them", func() bool {
				members := e.View().Members()
				return len(members) == 3 && members[0].ID == "again1"
			})
			e.awaitReady(t)
		}
		time.Sleep(time.Second) // virtual time: what was sent before arrives
		eventually(t, 15*time.Second, "presence knows them", func() bool {
			ids := clustertest.IDs(c.presence[0].member.Members())
			return slices.Equal(ids[1:], []string{"again1", "again2", "again3"})
		})
		for _, cl := range clients {
			if len(cl.payloads(topic, "phx_error")) > 0 {
				cl.join(topic) // as phoenix.js does
			}
		}
		p := clients[1].publisher(topic, "back")
		for range 10 {
			p.next()
		}
		for _, cl := range clients {
			p.all(t, cl)
		}
		c.socketsStay()
	})
}
