package cluster

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/skein-mesh/skein/pkg/wsframe"
)

const topic = "room:1"

// joined connects a client at each edge and joins them to the topic.
func (c *fleet) joined(topic string) []*client {
	c.t.Helper()
	var all []*client
	for _, e := range c.edges {
		cl := c.connect(e)
		cl.join(topic)
		all = append(all, cl)
	}
	return all
}

func TestEveryEdgeSeesOneOrder(t *testing.T) {
	run(t, size{edges: 3, routers: 3, presence: 1}, func(c *fleet) {
		clients := c.joined(topic)
		var publishers []*publisher
		for i, cl := range clients {
			publishers = append(publishers, cl.publisher(topic, fmt.Sprint("from", i)))
		}
		for range 40 {
			for _, p := range publishers {
				p.next()
			}
		}
		var orders [][]string
		for _, cl := range clients {
			for _, p := range publishers {
				p.all(t, cl)
			}
			order := slices.DeleteFunc(cl.order(topic), func(s string) bool { return s[:4] != "from" })
			orders = append(orders, order)
		}
		for _, o := range orders[1:] {
			if !slices.Equal(o, orders[0]) {
				t.Error("two clients saw different orders")
			}
		}
		c.socketsStay()
	})
}

func TestReplyComesAfterOwnBroadcast(t *testing.T) {
	run(t, size{edges: 2, routers: 3}, func(c *fleet) {
		for i := range 6 { // topics of different owners
			topic := fmt.Sprint("room:", i)
			cl := c.connect(c.edges[i%2])
			cl.join(topic)
			p := cl.publisher(topic, "e")
			for range 20 {
				p.next()
			}
			p.all(t, cl)
			for n, ref := range p.refs {
				cl.wait(ref)
				order := cl.order(topic)
				own, reply := slices.Index(order, fmt.Sprintf(`e {"n":%d}`, n+1)), slices.Index(order, "reply "+ref)
				if own < 0 || reply < own {
					t.Errorf("%s: own broadcast %d at %d, its reply at %d", topic, n+1, own, reply)
				}
			}
		}
	})
}

func TestJoinWhileRoutersChange(t *testing.T) {
	run(t, size{edges: 2, routers: 2}, func(c *fleet) {
		sender := c.connect(c.edges[0])
		c.addRouter("r3")
		for i := range 30 {
			topic := fmt.Sprint("room:", i)
			sender.join(topic)
			cl := c.connect(c.edges[1])
			cl.join(topic)
			p := sender.publisher(topic, "e")
			p.next()
			p.all(t, cl)
			p.all(t, sender)
			time.Sleep(100 * time.Millisecond) // virtual time
		}
		c.settled(3)
		c.socketsStay()
	})
}

func TestCrashOfTheOwner(t *testing.T) {
	run(t, size{edges: 2, routers: 3}, func(c *fleet) {
		clients := c.joined(topic)
		p := clients[0].publisher(topic, "e")
		p.begin(10 * time.Millisecond)
		time.Sleep(time.Second) // virtual time
		owner := c.owner(topic)
		before := len(clients[1].numbers(topic, "e"))
		c.kill(owner)
		crashed := time.Now()
		eventually(t, 3*time.Second, "delivery resumes", func() bool { return len(clients[1].numbers(topic, "e")) > before+10 })
		t.Logf("resumed after %s", time.Since(crashed))
		time.Sleep(2 * time.Second) // virtual time
		p.end()
		for _, cl := range clients {
			p.once(t, cl)
		}
		lost := len(p.refs) - len(clients[1].numbers(topic, "e"))
		if lost > 20 {
			t.Errorf("%d messages lost, %d refused", lost, p.refused())
		}
		c.noErrors(topic)
		c.socketsStay()

		after := clients[1].publisher(topic, "after")
		after.next()
		for _, cl := range clients {
			after.all(t, cl)
		}
	})
}

func TestRollingRestartOfAllRouters(t *testing.T) {
	run(t, size{edges: 2, routers: 3, presence: 1}, func(c *fleet) {
		var publishers []*publisher
		clients := [][]*client{}
		for i := range 6 {
			topic := fmt.Sprint("room:", i)
			clients = append(clients, c.joined(topic))
			p := clients[i][i%2].publisher(topic, "e")
			p.begin(5 * time.Millisecond)
			publishers = append(publishers, p)
		}
		for _, r := range slices.Clone(c.routers) {
			time.Sleep(time.Second) // virtual time
			c.restart(r)
			c.settled(3)
		}
		time.Sleep(time.Second) // virtual time
		for i, p := range publishers {
			p.end()
			if n := p.refused(); n > 0 {
				t.Errorf("%s: %d of %d refused", p.topic, n, len(p.refs))
			}
			for _, cl := range clients[i] {
				p.all(t, cl)
			}
			c.noErrors(p.topic)
		}
		c.socketsStay()
	})
}

func TestPartitionBetweenRoutersAndHeal(t *testing.T) {
	run(t, size{edges: 2, routers: 3}, func(c *fleet) {
		clients := c.joined(topic)
		p := clients[0].publisher(topic, "e")
		p.begin(20 * time.Millisecond)
		time.Sleep(time.Second) // virtual time
		minority := c.routers[2:]
		c.partition(minority, true)
		c.adopted(2)
		inside := clients[1].publisher(topic, "inside")
		for range 20 {
			inside.next()
		}
		for _, cl := range clients {
			inside.all(t, cl)
		}
		c.partition(minority, false)
		c.settled(3)
		c.adopted(3)
		p.end()
		for _, cl := range clients {
			p.once(t, cl)
		}
		healed := clients[1].publisher(topic, "healed")
		for range 20 {
			healed.next()
		}
		for _, cl := range clients {
			healed.all(t, cl)
		}
		c.noErrors(topic)
		c.socketsStay()
	})
}

// TestRoutersDisagree cuts the links between two routers while both gossip and
// the third see everybody: three routers, three views.
func TestRoutersDisagree(t *testing.T) {
	run(t, size{edges: 2, routers: 3}, func(c *fleet) {
		a, b := c.routers[0], c.routers[1]
		clients := c.joined("room:0")
		p := clients[0].publisher("room:0", "e")
		p.begin(20 * time.Millisecond)
		c.network.cut(a.host, b.host, true)
		time.Sleep(6 * time.Second) // virtual time
		for i := 1; i <= 6; i++ {   // topics of every owner
			topic := fmt.Sprint("room:", i)
			joined := c.joined(topic)
			q := joined[0].publisher(topic, "e")
			for range 5 {
				q.next()
			}
			for _, cl := range joined {
				q.all(t, cl)
			}
		}
		c.network.cut(a.host, b.host, false)
		time.Sleep(5 * time.Second) // virtual time
		p.end()
		for _, cl := range clients {
			p.once(t, cl)
		}
		c.socketsStay()
	})
}

// TestSlowEdgeDisturbsNobody stops everything between one edge and the routers
// for less than makes the routers give it up.
func TestSlowEdgeDisturbsNobody(t *testing.T) {
	run(t, size{edges: 3, routers: 2}, func(c *fleet) {
		clients := c.joined(topic)
		p := clients[0].publisher(topic, "e")
		slow := c.edges[2]
		for _, r := range c.routers {
			c.network.cut(slow.host, r.host, true)
		}
		p.begin(5 * time.Millisecond)
		time.Sleep(1500 * time.Millisecond) // virtual time
		if got := len(clients[1].numbers(topic, "e")); got < 250 {
			t.Errorf("the other edge got %d messages meanwhile", got)
		}
		for _, r := range c.routers {
			c.network.cut(slow.host, r.host, false)
		}
		p.end()
		for _, cl := range clients {
			p.all(t, cl)
		}
		if n := p.refused(); n > 0 {
			t.Errorf("%d refused", n)
		}
		c.socketsStay()
	})
}

func TestEdgeLosesAllRouters(t *testing.T) {
	run(t, size{edges: 2, routers: 2}, func(c *fleet) {
		clients := c.joined(topic)
		lonely := c.edges[0]
		isolate := func(yes bool) {
			for _, r := range c.routers {
				c.network.cut(lonely.host, r.host, yes)
			}
		}
		isolate(true)
		refused := clients[0].push(topic, "e", 1)
		time.Sleep(4 * time.Second) // virtual time
		if lonely.Ready() != nil || len(clients[0].payloads(topic, "phx_error")) > 0 {
			t.Error("gave up too early")
		}
		eventually(t, 8*time.Second, "phx_error", func() bool { return len(clients[0].payloads(topic, "phx_error")) == 1 })
		if lonely.Ready() == nil {
			t.Error("ready without a router")
		}
		if status := clients[0].reply(refused); status == "ok" {
			t.Errorf("push over a cut: %q", status)
		}
		if status := clients[0].wait(clients[0].send("room:2", "phx_join", "{}")); status != "error" {
			t.Errorf("join without a router: %q", status)
		}
		c.noPush(clients[1])
		isolate(false)
		lonely.awaitReady(t)
		clients[0].join(topic)
		p := clients[1].publisher(topic, "back")
		p.next()
		for _, cl := range clients {
			p.all(t, cl)
		}
		c.socketsStay()
	})
}

// noPush checks that a client of another edge noticed nothing.
func (c *fleet) noPush(cl *client) {
	c.t.Helper()
	p := cl.publisher(topic, "meanwhile")
	p.next()
	p.all(c.t, cl)
	if n := len(cl.payloads(topic, "phx_error")); n > 0 {
		c.t.Errorf("%d phx_error at another edge", n)
	}
}

func TestEdgeDrains(t *testing.T) {
	run(t, size{edges: 2, routers: 1, presence: 1}, func(c *fleet) {
		clients := c.joined(topic)
		p := clients[0].publisher(topic, "e")
		p.begin(5 * time.Millisecond)
		time.Sleep(time.Second) // virtual time
		leaving := c.edges[0]
		leaving.cancel()
		eventually(t, 2*time.Second, "unready", func() bool { return leaving.Ready() != nil })
		eventually(t, 10*time.Second, "socket closed", func() bool { return !clients[0].alive() })
		if code := clients[0].closeCode(); code != wsframe.CodeRestart {
			t.Errorf("closed with %d", code)
		}
		close(p.halt)
		<-p.halted
		p.once(t, clients[1])
		if !clients[1].alive() {
			t.Error("a client of the other edge lost its socket")
		}
		if err := <-leaving.done; err != nil {
			t.Error(err)
		}
		leaving.done <- nil
	})
}

func TestSingleRouterRestarts(t *testing.T) {
	run(t, size{edges: 2, routers: 1}, func(c *fleet) {
		clients := c.joined(topic)
		p := clients[0].publisher(topic, "e")
		for range 10 {
			p.next()
		}
		p.all(t, clients[1])
		c.restart(c.routers[0])
		eventually(t, 15*time.Second, "delivery resumes", func() bool {
			p := clients[1].publisher(topic, "probe")
			p.next()
			time.Sleep(200 * time.Millisecond) // virtual time
			return len(clients[0].numbers(topic, "probe")) > 0
		})
		c.socketsStay()
	})
}
