//go:build e2e

package compose

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
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
	c := gather(t, startNode(t), s.address, 60)
	for _, step := range []struct {
		name string
		run  func(*testing.T, *stack, crowd)
	}{
		{"clients of three edges hear each other", spread},
		{"a backend decides about rooms", chat},
		{"a container may write nothing", readOnly},
		{"a caller without a certificate is refused", refused},
		{"certificates are renewed", renewed},
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

func chat(t *testing.T, s *stack, c crowd) {
	var room crowd
	for _, name := range []string{"ada", "bob"} {
		room = append(room, c[0].node.visit(t, s.address, "room:lobby", map[string]string{"name": name}))
	}
	room.present(t)
	if err := room[0].say("say", "hello"); err != nil {
		t.Fatal(err)
	}
	if err := room.hear(10*time.Second, "hello"); err != nil {
		t.Error(err)
	}
	for _, v := range room {
		v.leave(t)
	}
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

// refused shows that gRPC is not for everybody in the network, and that only one
// container ever sees the authority's key.
func refused(t *testing.T, s *stack, _ crowd) {
	run := []string{"run", "--rm", "-T", "-e", "SKEIN_TLS_CERT=", "-e", "SKEIN_TLS_KEY="}
	for name, without := range map[string][]string{"certificate": nil, "TLS": {"-e", "SKEIN_TLS_CA=", "-e", "SKEIN_TLS_SERVER_NAME="}} {
		if out, err := s.try(t.Context(), "docker-compose", s.args(slices.Concat(run, without, []string{"skein", "members"})...)...); err == nil {
			t.Errorf("answered a caller without %s: %s", name, out)
		} else if !strings.Contains(err.Error(), "cannot reach a router") {
			t.Error(err)
		}
	}
	for id := range strings.FieldsSeq(s.compose(t, "ps", "-q")) {
		what := s.docker(t, "inspect", "--format", "{{.Config.Image}} {{.Config.Env}} {{range .Mounts}}{{.Destination}}:{{.RW}} {{end}}", id)
		keys := strings.HasPrefix(what, "skein:")
		if strings.Contains(what, "SKEIN_INSECURE") || !keys && (strings.Contains(what, "/certs:true") || strings.Contains(what, "/authority")) {
			t.Errorf("a container may do too much: %s", what)
		}
	}
}

// renewed has the authority sign anew, since all certificates are to be for
// another host, too. No client notices, and services take them.
func renewed(t *testing.T, s *stack, c crowd) {
	before := c.lost()
	var certs []struct{ Name, Did string }
	out := s.compose(t, "run", "--rm", "-T", "keys",
		"keys", "certs", "router", "presence", "edge", "operator", "--san=skein.internal,"+newName, "--dir=/certs", "--authority=/authority", "--output=json")
	if err := json.Unmarshal([]byte(out), &certs); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, cert := range certs {
		if want := map[bool]string{true: "kept", false: "renewed"}[cert.Name == "ca"]; cert.Did != want {
			t.Errorf("%s was %s, want %s", cert.Name, cert.Did, want)
		}
	}
	eventually(t, 30*time.Second, "a router shows its new certificate", func() error {
		_, err := s.try(t.Context(), "docker-compose", s.args("run", "--rm", "-T", "-e", "SKEIN_TLS_SERVER_NAME="+newName, "skein", "members")...)
		return err
	})
	s.agreed(t, 3, 3)
	c.talk(t, "with new certificates")
	c.stayed(t, before, "certificates were renewed")
}

// newName is a host that certificates are not for at first.
const newName = "renewed.internal"

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
	before := c.lost()
	speeches := speak(t, c[0])
	s.replace(t, "router")
	s.agreed(t, 3, 3)
	texts := speeches()
	c.talk(t, "with another router")
	c.stayed(t, before, "a router was replaced")
	if err := c.hear(5*time.Second, texts...); err != nil {
		t.Errorf("%v of %d that were said while a router was replaced", err, len(texts))
	}
}

func cutRouter(t *testing.T, s *stack, c crowd) {
	before := c.lost()
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
	before := c.lost()
	s.replace(t, "edge")
	s.agreed(t, 3, 3)
	c.present(t)
	c.talk(t, "with another edge")
	if moved := c.lost() - before; moved == 0 || moved > len(c) {
		t.Errorf("%d channels were lost; only those of one edge should be, once each", moved)
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
