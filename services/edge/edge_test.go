package edge

import (
	"context"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/skein-mesh/skein/pkg/bubble"
)

func TestOriginsThatMayConnect(t *testing.T) {
	for _, c := range []struct {
		words, from, host string
		want              bool
	}{
		{"own", "https://app.example.com", "app.example.com", true},
		{"own", "http://localhost:5173", "localhost:4000", true},
		{"own", "http://[::1]:5173", "[::1]:4000", true},
		{"own", "http://APP.example.com", "app.Example.com:80", true},
		{"own", "https://evil.example.com", "app.example.com", false},
		{"own", "https://app.example.com.evil.org", "app.example.com", false},
		{"own", "null", "app.example.com", false},
		{"own", "", "", false},
		{"own", "https://", "", false},
		{"own", "://", "app.example.com", false},
		{"off", "null", "app.example.com", true},
		{"https://example.com", "https://example.com", "other", true},
		{"https://example.com", "https://example.com:443", "other", true},
		{"https://example.com", "http://example.com", "other", false},
		{"https://example.com", "https://sub.example.com", "other", false},
		{"//example.com:8443", "https://example.com:8443", "other", true},
		{"//example.com:8443", "https://example.com", "other", false},
		{"//example.com:80", "http://example.com", "other", true},
		{"//*.example.com", "http://a.b.example.com:99", "other", true},
		{"//*.example.com", "http://example.com", "other", true},
		{"//*.example.com", "http://badexample.com", "other", false},
		{"//a.org,own", "http://a.org", "other", true},
		{"//a.org,own", "http://other", "other", true},
		{"//a.org,own", "http://b.org", "other", false},
	} {
		o, err := parseOrigins(strings.Split(c.words, ","))
		if err != nil {
			t.Errorf("%s: %v", c.words, err)
		}
		if got := o.allow(c.from, c.host); got != c.want {
			t.Errorf("%s: %q at %q: %v", c.words, c.from, c.host, got)
		}
	}
}

func TestOriginsThatMakeNoSense(t *testing.T) {
	for _, words := range []string{"", "off,own", "example.com", "https://", "https://a.org/path", "https://user@a.org", "%zz"} {
		if _, err := parseOrigins(strings.Split(words, ",")); err == nil {
			t.Errorf("%q was taken", words)
		}
	}
	if _, err := parseOrigins(nil); err == nil {
		t.Error("no words were taken")
	}
}

func TestDefaultIsValid(t *testing.T) {
	if err := Default().Validate(); err != nil {
		t.Error(err)
	}
}

func TestEveryProblemIsReported(t *testing.T) {
	cfg := Default()
	cfg.ID, cfg.Listen, cfg.Admin, cfg.Agent = "a b", "", "x", "y"
	cfg.Routers, cfg.UplinkBytes = []string{""}, 1
	cfg.Sockets = Sockets{CheckOrigin: []string{"x y"}, SocketsPerIP: -1, Loops: -1, Engine: "steam", Writer: "quill"}
	cfg.Draining = Draining{Delay: -1}
	cfg.TraceRatio = 2
	err := cfg.Validate()
	if err == nil {
		t.Fatal("no error")
	}
	for _, name := range []string{
		"id", "listen", "admin", "agent", "routers", "uplink-bytes", "outbox-bytes", "send-buffer", "max-frame-size", "max-joins",
		"max-unanswered", "sockets-per-ip", "timeout", "handshake-timeout", "loops", "engine", "writer", "check-origin", "drain-delay", "trace-ratio",
	} {
		if !strings.Contains("\n"+err.Error(), "\n"+name+":") {
			t.Errorf("%s is missing in\n%v", name, err)
		}
	}
}

func TestAgentLineFollowsAge(t *testing.T) {
	var draining atomic.Bool
	a := &Agent{draining: draining.Load}
	for age, want := range map[time.Duration]string{
		0: "up ready 100%\n", agentYouth - 1: "up ready 100%\n", agentYouth: "up 100%\n", time.Hour: "up 100%\n",
	} {
		if got := a.line(age); got != want {
			t.Errorf("%s: %q", age, got)
		}
	}
	draining.Store(true)
	if got := a.line(0); got != "up drain 1%\n" {
		t.Errorf("draining: %q", got)
	}
}

func TestAgentAnswersOneLineAndCloses(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- (&Agent{listener, func() bool { return false }}).Run(ctx) }()
	for _, sent := range []string{"", "edge-1\n"} {
		conn, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, sent); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(conn); err != nil || string(got) != "up ready 100%\n" {
			t.Errorf("got %q, %v", got, err)
		}
		conn.Close() // read to its end
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
		answer(server, agentUp)
		if waited := time.Since(began); waited > agentTimeout {
			t.Errorf("waited %s", waited)
		}
		client.Close() // a pipe
	})
}
