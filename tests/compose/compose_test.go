//go:build e2e

package compose

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"
)

// TestFleet brings the fleet up once, and does to it what operators and networks
// do, one thing after the other, while clients are there.
func TestFleet(t *testing.T) {
	e := startEngine(t)
	e.importHAProxy(t)
	e.importGo(t)
	s := up(t, e)
	for service, n := range map[string]int{"router": 3, "presence": 2, "edge": 3} {
		s.healthy(t, service, n)
	}
	s.agreed(t, 3, 3)
	c := gather(t, s.address, 60)
	for _, step := range []struct {
		name string
		run  func(*testing.T, *stack, crowd)
	}{
		{"clients of three edges hear each other", spread},
		{"a backend decides about rooms", chat},
		{"a container may write nothing", readOnly},
		{"a router is upgraded alone", upgradeRouter},
		{"a router's network is cut, and heals", cutRouter},
		{"an edge is upgraded alone", upgradeEdge},
		{"an edge that is added takes its share", addEdge},
	} {
		if !t.Run(step.name, func(t *testing.T) { step.run(t, s, c) }) {
			break // the rest stands on it
		}
	}
}

func spread(t *testing.T, s *stack, c crowd) {
	eventually(t, 30*time.Second, "each edge has its third", func() error {
		shares, err := s.shares(t)
		if err != nil {
			return err
		}
		if len(shares) != 3 || slices.ContainsFunc(shares, func(e share) bool { return e.Connections < len(c)/5 }) {
			return fmt.Errorf("%+v", shares)
		}
		return nil
	})
	c.talk(t, "at the beginning")
}

func chat(t *testing.T, s *stack, _ crowd) {
	ctx, cancel := context.WithCancel(t.Context())
	ada := visit(ctx, s.address, "room:lobby", map[string]string{"name": "ada"})
	bob := visit(ctx, s.address, "room:lobby", map[string]string{"name": "bob"})
	defer func() {
		cancel()
		<-ada.done
		<-bob.done
	}()
	crowd{ada, bob}.present(t)
	if _, err := ada.say("say", "hello"); err != nil {
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, "both hear it", func() error { return crowd{ada, bob}.hear("hello") })
}

func readOnly(t *testing.T, s *stack, _ crowd) {
	for _, service := range []string{"router", "presence", "edge", "chat", "balancer"} {
		const what = "{{.HostConfig.ReadonlyRootfs}} {{.HostConfig.CapDrop}} {{.Config.User}} {{.HostConfig.RestartPolicy.Name}}"
		user := "65532:65532"
		if service == "balancer" {
			user = "99:99"
		}
		for _, id := range s.containers(t, service) {
			if got, want := s.docker(t, "inspect", "--format", what, id), "true [ALL] "+user+" unless-stopped"; got != want {
				t.Errorf("%s: got %s, want %s", service, got, want)
			}
		}
	}
}

// replace stops a container and has another take its place, as for an upgrade.
func (s *stack) replace(t *testing.T, service string) {
	t.Helper()
	old := s.containers(t, service)
	s.docker(t, "stop", old[0])
	s.docker(t, "rm", old[0])
	s.compose(t, "up", "-d", "--no-build", "--no-recreate", "--no-deps", "--scale", fmt.Sprintf("%s=%d", service, len(old)), service)
	s.healthy(t, service, len(old))
}

func upgradeRouter(t *testing.T, s *stack, c crowd) {
	before := c.ended()
	speeches := speak(t, c[0])
	s.replace(t, "router")
	s.agreed(t, 3, 3)
	texts := speeches()
	c.talk(t, "with another router")
	c.stayed(t, before, "a router was replaced")
	for i, v := range c {
		for _, text := range texts {
			if !v.hasHeard(text) {
				t.Fatalf("visitor %d has not heard %q of %d while a router was replaced", i, text, len(texts))
			}
		}
	}
}

// speak has a visitor say something ten times a second until the function it
// returns is called, which returns what was said.
func speak(t *testing.T, v *visitor) (stop func() []string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	said, failed := make(chan []string, 1), make(chan error, 1)
	go func() {
		var texts []string
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			text := fmt.Sprintf("speech %d", len(texts))
			if _, err := v.say("said", text); err != nil {
				failed <- err
				break
			}
			texts = append(texts, text)
			select {
			case <-ctx.Done():
			case <-tick.C:
			}
		}
		said <- texts
	}()
	return func() []string {
		cancel()
		texts := <-said
		select {
		case err := <-failed:
			t.Errorf("the speaker was interrupted: %v", err)
		default:
		}
		return texts
	}
}

func cutRouter(t *testing.T, s *stack, c crowd) {
	before := c.ended()
	id := s.containers(t, "router")[0]
	network := project + "_mesh"
	address := s.docker(t, "inspect", "--format", `{{(index .NetworkSettings.Networks "`+network+`").IPAddress}}`, id)
	s.docker(t, "network", "disconnect", network, id)
	s.agreed(t, 2, 3)
	c.talk(t, "while a router is cut off")
	s.docker(t, "network", "connect", "--ip", address, "--alias", "router", network, id)
	s.agreed(t, 3, 3)
	c.talk(t, "once it is back")
	c.stayed(t, before, "a router was cut off")
}

func upgradeEdge(t *testing.T, s *stack, c crowd) {
	before := c.ended()
	s.replace(t, "edge")
	s.agreed(t, 3, 3)
	c.present(t)
	c.talk(t, "with another edge")
	if moved := c.ended() - before; moved == 0 || moved > len(c) {
		t.Errorf("%d sockets ended; only those of one edge should, once each", moved)
	}
}

func addEdge(t *testing.T, s *stack, c crowd) {
	s.compose(t, "up", "-d", "--no-build", "--no-recreate", "--no-deps", "--scale", "edge=4", "edge")
	s.healthy(t, "edge", 4)
	eventually(t, 3*time.Minute, "four edges have a quarter each", func() error {
		shares, err := s.shares(t)
		if err != nil {
			return err
		}
		if len(shares) != 4 {
			return errors.New("presence does not know four edges")
		}
		for _, e := range shares {
			if e.Connections < len(c)/4-2 || e.Connections > len(c)/4+2 {
				return fmt.Errorf("%+v", shares)
			}
		}
		return nil
	})
	s.agreed(t, 3, 4)
	c.present(t)
	c.talk(t, "on four edges")
}
