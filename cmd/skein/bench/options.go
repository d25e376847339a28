// Package bench puts load on a fleet, as its users would, and measures what
// they get and what it costs.
//
// All sockets of a run are driven by one goroutine with one epoll instance, so
// one process holds as many as it may open files and counts a million small
// frames a second. A second goroutine publishes. The floor is a server without
// a protocol worth the name, which runs as a child process and is measured in
// the same way: what it costs is what the kernel costs.
package bench

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Common are the options of every scenario.
type Common struct {
	Edge        []string      `conf:"edge"        usage:"addresses where edges take clients; sockets are spread over them"`
	Path        string        `conf:"path"        usage:"path of the WebSocket endpoint"`
	Concurrency int           `conf:"concurrency" usage:"most handshakes, and joins, under way at once"`
	ConnectRate float64       `conf:"connect-rate" usage:"new sockets each second; 0 is as fast as they are taken"`
	Pids        []string      `conf:"pids"        usage:"processes to measure, as PID or NAME=PID"`
	Settle      time.Duration `conf:"settle"      usage:"quiet time before memory is measured and before publishing begins"`
	Floor       bool          `conf:"floor"       usage:"run the same against a bare epoll server first, and print ratios"`
}

func defaultCommon() Common {
	return Common{Edge: []string{"127.0.0.1:4000"}, Path: "/socket/websocket", Concurrency: 64, Settle: 2 * time.Second}
}

// problems collects what is wrong with options.
type problems []error

func (p *problems) check(ok bool, format string, args ...any) {
	if !ok {
		*p = append(*p, fmt.Errorf(format, args...))
	}
}

func (c *Common) check(p *problems) {
	p.check(len(c.Edge) > 0, "edge: at least one address is required")
	p.check(len(c.Path) > 0 && c.Path[0] == '/', "path: %q does not begin with /", c.Path)
	p.check(c.Concurrency > 0, "concurrency: %d is not positive", c.Concurrency)
	p.check(c.ConnectRate >= 0, "connect-rate: %v is negative", c.ConnectRate)
	p.check(c.Settle >= 0, "settle: %s is negative", c.Settle)
	if _, err := parsePids(c.Pids); err != nil {
		p.check(false, "pids: %v", err)
	}
}

// ConnectOptions open sockets and, with Joins, join topics on them.
type ConnectOptions struct {
	Common
	Sockets int           `conf:"sockets" usage:"number of sockets"`
	Topics  int           `conf:"topics"  usage:"number of distinct topics that are joined"`
	Joins   int           `conf:"joins"   usage:"topics joined on each socket"`
	Hold    time.Duration `conf:"hold"    usage:"how long the sockets stay open after that, with heartbeats"`
}

// DefaultConnect opens sockets only.
func DefaultConnect() ConnectOptions {
	return ConnectOptions{Common: defaultCommon(), Sockets: 1000, Topics: 1}
}

// DefaultJoin joins one topic on each socket.
func DefaultJoin() ConnectOptions {
	o := DefaultConnect()
	o.Joins = 1
	return o
}

// Validate implements conf.Config.
func (o *ConnectOptions) Validate() error {
	var p problems
	o.check(&p)
	p.check(o.Sockets > 0, "sockets: %d is not positive", o.Sockets)
	p.check(o.Joins >= 0, "joins: %d is negative", o.Joins)
	p.check(o.Topics > 0 && o.Topics >= o.Joins, "topics: %d are fewer than the %d joined on each socket", o.Topics, max(1, o.Joins))
	p.check(o.Hold >= 0, "hold: %s is negative", o.Hold)
	return errors.Join(p...)
}

// FanoutOptions publish to topics with subscribers.
type FanoutOptions struct {
	Common
	Topics      int           `conf:"topics"       usage:"number of topics"`
	Sockets     int           `conf:"sockets"      usage:"subscribers of each topic"`
	Publishers  int           `conf:"publishers"   usage:"number of publishers; topics take turns"`
	Via         string        `conf:"via"          usage:"how messages are published: socket (by subscribers of the topic) or grpc"`
	PublishEdge []string      `conf:"publish-edge" usage:"edges that take the sockets of publishers; empty is any"`
	Rate        float64       `conf:"rate"         usage:"messages each second over all publishers; 0 is as fast as they are acknowledged"`
	Window      int           `conf:"window"       usage:"most messages of one publisher that wait for their acknowledgement"`
	Payload     int           `conf:"payload"      usage:"size of a message's payload in bytes"`
	Duration    time.Duration `conf:"duration"     usage:"how long to publish"`
	Grace       time.Duration `conf:"grace"        usage:"how long to wait for the last messages while none comes"`
	Coalesce    time.Duration `conf:"coalesce"     usage:"let the floor collect messages for so long and write them at once"`
}

// DefaultFanout publishes 50 messages a second to a topic with 1,000
// subscribers.
func DefaultFanout() FanoutOptions {
	return FanoutOptions{
		Common: defaultCommon(), Topics: 1, Sockets: 1000, Publishers: 1, Via: viaSocket,
		Rate: 50, Window: 64, Payload: 200, Duration: 10 * time.Second, Grace: 5 * time.Second,
	}
}

// Ways to publish.
const (
	viaSocket = "socket"
	viaGRPC   = "grpc"
)

// maxPublishes bounds the memory of a run that is as fast as it can.
const maxPublishes = 50_000_000

// Validate implements conf.Config.
func (o *FanoutOptions) Validate() error {
	var p problems
	o.check(&p)
	p.check(o.Topics > 0, "topics: %d is not positive", o.Topics)
	p.check(o.Sockets > 0, "sockets: %d is not positive", o.Sockets)
	p.check(o.Publishers > 0, "publishers: %d is not positive", o.Publishers)
	p.check(slices.Contains([]string{viaSocket, viaGRPC}, o.Via), "via: %q is neither socket nor grpc", o.Via)
	perTopic := (o.Publishers + max(1, o.Topics) - 1) / max(1, o.Topics)
	p.check(o.Via != viaSocket || perTopic <= o.Sockets,
		"publishers: %d of one topic are more than its %d sockets", perTopic, o.Sockets)
	p.check(o.Rate >= 0, "rate: %v is negative", o.Rate)
	p.check(o.Window > 0, "window: %d is not positive", o.Window)
	p.check(o.Payload >= minPayload && o.Payload <= maxPayload, "payload: %d is not between %d and %d", o.Payload, minPayload, maxPayload)
	p.check(o.Duration > 0 && o.Duration <= time.Hour, "duration: %s is not between 0 and 1h", o.Duration)
	p.check(o.Rate*o.Duration.Seconds() <= maxPublishes, "rate: more than %d messages in all", maxPublishes)
	p.check(o.Grace > 0, "grace: %s is not positive", o.Grace)
	p.check(o.Coalesce == 0 || o.Coalesce >= time.Millisecond, "coalesce: %s is less than 1ms", o.Coalesce)
	return errors.Join(p...)
}

// PeopleOptions have people enter topics and list them.
type PeopleOptions struct {
	Common
	People   int           `conf:"people"   usage:"number of people, each on a socket of its own"`
	Topics   int           `conf:"topics"   usage:"number of topics that they are spread over"`
	Sample   int           `conf:"sample"   usage:"people of each topic whose list is followed as phoenix.js does; the first to come"`
	Hold     time.Duration `conf:"hold"     usage:"how long they stay when the lists are complete; SIGINT ends it early"`
	Patience time.Duration `conf:"patience" usage:"how long to wait for lists to become complete, and to become empty"`
}

// DefaultPeople has 1,000 people enter ten topics.
func DefaultPeople() PeopleOptions {
	return PeopleOptions{
		Common: defaultCommon(), People: 1000, Topics: 10, Sample: 2, Hold: 10 * time.Second, Patience: time.Minute,
	}
}

// Validate implements conf.Config.
func (o *PeopleOptions) Validate() error {
	var p problems
	o.check(&p)
	p.check(!o.Floor, "floor: a bare server lists nobody")
	p.check(o.Topics > 0, "topics: %d is not positive", o.Topics)
	p.check(o.Sample > 0, "sample: %d is not positive", o.Sample)
	p.check(o.People > 0 && o.People >= o.Topics*o.Sample, "people: %d are fewer than %d in each of %d topics", o.People, o.Sample, o.Topics)
	p.check(o.Hold >= 0, "hold: %s is negative", o.Hold)
	p.check(o.Patience > 0, "patience: %s is not positive", o.Patience)
	return errors.Join(p...)
}
