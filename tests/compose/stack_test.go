//go:build e2e

package compose

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// project names the containers of a stack.
const project = "skein-test"

// stack is the fleet of deploy/compose, up.
type stack struct {
	*engine

	address string // where clients connect
}

// up builds the images and brings the core of the compose file up. All of it goes
// down with the test.
func up(t *testing.T, e *engine) *stack {
	t.Helper()
	s := &stack{e, freeAddress(t)}
	e.env = append(e.env, "SKEIN_PUBLISH="+s.address, "SKEIN_LOG_LEVEL=warn",
		"SKEIN_NOFILE=4096", "SKEIN_MAX_CLIENTS=1000") // what any machine allows
	t.Cleanup(func() {
		// The test's own context has ended.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 2*time.Minute)
		defer cancel()
		if t.Failed() {
			logs, err := s.try(ctx, "docker-compose", s.args("logs", "--no-color", "--tail", "25")...)
			t.Logf("logs of the containers: %v\n%s", err, logs)
		}
		if _, err := s.try(ctx, "docker-compose", s.args("down", "--volumes", "--timeout", "1", "--remove-orphans")...); err != nil {
			t.Error(err)
		}
	})
	s.compose(t, "build", "router", "presence", "edge", "skein", "chat")
	s.compose(t, "up", "-d", "--no-build")
	return s
}

func (s *stack) args(args ...string) []string {
	return append([]string{
		"--project-name", project,
		"--file", root + "/deploy/compose/compose.yaml", "--file", "testdata/override.yaml",
	}, args...)
}

// compose runs docker-compose on the stack.
func (s *stack) compose(t *testing.T, args ...string) string {
	t.Helper()
	out, err := s.try(t.Context(), "docker-compose", s.args(args...)...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// containers are the ids of a service's containers.
func (s *stack) containers(t *testing.T, service string) []string {
	t.Helper()
	return strings.Fields(s.compose(t, "ps", "-q", service))
}

// healthy waits until a service has that many containers, all healthy.
func (s *stack) healthy(t *testing.T, service string, want int) {
	t.Helper()
	eventually(t, time.Minute, service+" is healthy", func() error {
		ids := s.containers(t, service)
		if len(ids) != want {
			return fmt.Errorf("%d containers, want %d", len(ids), want)
		}
		for _, id := range ids {
			if state := s.docker(t, "inspect", "--format", "{{.State.Health.Status}}", id); state != "healthy" {
				return fmt.Errorf("container %s is %s", id[:12], state)
			}
		}
		return nil
	})
}

// skein runs the command line in the fleet and reads the JSON it prints.
func (s *stack) skein(t *testing.T, into any, args ...string) error {
	t.Helper()
	out, err := s.try(t.Context(), "docker-compose", s.args(append([]string{"run", "--rm", "-T", "skein"}, append(args, "--output", "json")...)...)...)
	if err != nil {
		return err
	}
	return json.Unmarshal([]byte(out), into)
}

// agreed waits until that many routers are ready and see the same view, and all
// edges are attached to each.
func (s *stack) agreed(t *testing.T, routers, edges int) {
	t.Helper()
	eventually(t, time.Minute, fmt.Sprintf("%d routers agree", routers), func() error {
		var m struct {
			Agree   bool
			Routers []struct {
				ID, State, View string
				Edges           int
			}
		}
		if err := s.skein(t, &m, "members"); err != nil {
			return err
		}
		ready := 0
		for _, r := range m.Routers {
			if r.State == "ready" {
				ready++
				if r.Edges != edges {
					return fmt.Errorf("%d edges at router %s", r.Edges, r.ID)
				}
			}
		}
		if !m.Agree || ready != routers {
			return fmt.Errorf("agree %v: %+v", m.Agree, m.Routers)
		}
		return nil
	})
}

// share is one edge as the planner sees it.
type share struct {
	Edge                string
	Connections, Target int
}

// shares are what presence says of each edge.
func (s *stack) shares(t *testing.T) ([]share, error) {
	t.Helper()
	var status struct{ Plan struct{ Edges []share } }
	err := s.skein(t, &status, "rebalance", "status")
	return status.Plan.Edges, err
}

// freeAddress is a port on loopback that nothing listens on now.
func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }() // it held the port for this moment
	return listener.Addr().String()
}
