package edge

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/skein-mesh/skein/pkg/bubble"
	"github.com/skein-mesh/skein/pkg/namespace"
	"github.com/skein-mesh/skein/pkg/tlsfiles"
)

func TestDefaultIsValid(t *testing.T) {
	if err := Default().Validate(); err != nil {
		t.Error(err)
	}
}

func TestEveryProblemIsReported(t *testing.T) {
	cfg := Default()
	cfg.ID, cfg.Listen, cfg.Admin, cfg.Agent = "a b", "", "x", "y"
	cfg.Routers, cfg.UplinkBytes = []string{""}, 1
	cfg.Sockets = Sockets{SocketsPerIP: -1, Loops: -1, Engine: "steam", Writer: "quill"}
	cfg.CheckOrigin, cfg.Connect = []string{"x y"}, "sometimes"
	cfg.Mounts = []Mount{{Path: "here"}, {Path: "/twice"}, {Path: "/twice"}}
	cfg.Draining = Draining{Delay: -1, Spread: -1, Wait: -1}
	cfg.Balance = Balance{Group: "a b", MaxLifetime: time.Second}
	cfg.TraceRatio = 2
	err := cfg.Validate()
	if err == nil {
		t.Fatal("no error")
	}
	for _, name := range []string{
		"id", "listen", "admin", "agent", "routers", "uplink-bytes", "outbox-bytes", "send-buffer", "max-frame-size", "max-joins",
		"max-unanswered", "sockets-per-ip", "timeout", "handshake-timeout", "loops", "engine", "writer", "check-origin", "drain-delay", "trace-ratio",
		"drain-spread", "drain-wait", "group", "capacity", "max-lifetime",
		"connect", "mounts", `mount "here"`, "longpoll-window", "max-fragmented-message-size",
	} {
		if !strings.Contains("\n"+err.Error(), "\n"+name+":") {
			t.Errorf("%s is missing in\n%v", name, err)
		}
	}
}

func TestTokensNeedKeys(t *testing.T) {
	cfg := Default()
	cfg.Connect = "token"
	cfg.Namespaces = []namespace.Namespace{{Topics: "room:*", Join: namespace.JoinToken}}
	cfg.Namespaces[0].SetDefaults()
	err := cfg.Validate()
	for _, what := range []string{`mount "/socket"`, `namespace "room:*"`} {
		if err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%s without keys: %v", what, err)
		}
	}
	cfg.Keys = []string{"secret"}
	if err := cfg.Validate(); err != nil {
		t.Error(err)
	}
}

func TestAgentLines(t *testing.T) {
	for want, told := range map[string]told{
		"up ready 100%\n": {weight: 100, fresh: true},
		"up ready 256%\n": {weight: 256, fresh: true},
		"up 100%\n":       {weight: 100},
		"up 1%\n":         {weight: 1},
		"up drain 1%\n":   {fresh: true},
	} {
		if got := told.line(); got != want {
			t.Errorf("%+v: %q, want %q", told, got, want)
		}
	}
}

func TestAgentAnswersOneLineAndCloses(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	agent := &Agent{listener: listener, told: func(time.Time) told { return told{weight: 70, fresh: true} }}
	if _, ok := agent.Polled(); ok {
		t.Error("polled by nobody")
	}
	go func() { done <- agent.Run(ctx) }()
	for _, sent := range []string{"", "edge-1\n"} {
		conn, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, sent); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(conn); err != nil || string(got) != "up ready 70%\n" {
			t.Errorf("got %q, %v", got, err)
		}
		conn.Close() // read to its end
	}
	if at, ok := agent.Polled(); !ok || time.Since(at) > time.Minute {
		t.Errorf("polled at %s, %t", at, ok)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestAgentDoesNotWaitForAClient(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		client, server := net.Pipe() // nobody reads
		began := time.Now()
		answer(server, told{weight: 100}.line())
		if waited := time.Since(began); waited > agentTimeout {
			t.Errorf("waited %s", waited)
		}
		client.Close() // a pipe
	})
}

func TestRoutersOnOtherMachinesNeedTLS(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*Config)
		want   string // part of the error; "" if valid
	}{
		"another machine":           {func(*Config) {}, "routers: router-1:5000: it is not on this machine"},
		"another machine, TLS":      {func(c *Config) { c.TLS = tlsfiles.TLS{Cert: "c", Key: "k", CA: "a"} }, ""},
		"another machine, insecure": {func(c *Config) { c.Insecure = true }, ""},
		"half of TLS":               {func(c *Config) { c.TLS = tlsfiles.TLS{CA: "a"} }, "tls-cert: is missing"},
		"half of public TLS":        {func(c *Config) { c.Insecure, c.Public = true, tlsfiles.Public{Cert: "c"} }, "public-tls-key"},
	} {
		c := Default()
		c.Routers = []string{"router-1:5000"}
		test.change(&c)
		err := c.Validate()
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %q", name, err, test.want)
		}
	}
}
