package healthcheck

import (
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

func TestCommandStandsFirst(t *testing.T) {
	for _, c := range []struct {
		args, rest []string
		asked      bool
	}{
		{nil, nil, false},
		{[]string{"healthcheck"}, nil, true},
		{[]string{"healthcheck", "--admin", ":1"}, []string{"--admin", ":1"}, true},
		{[]string{"--id", "healthcheck"}, []string{"--id", "healthcheck"}, false},
	} {
		rest, asked := Asked(c.args)
		if asked != c.asked || !slices.Equal(rest, c.rest) {
			t.Errorf("%q: got %q, %v", c.args, rest, asked)
		}
	}
}

func TestTarget(t *testing.T) {
	for admin, want := range map[string]string{
		":4001":          "localhost:4001",
		"0.0.0.0:4001":   "localhost:4001",
		"[::]:4001":      "localhost:4001",
		"127.0.0.1:4001": "127.0.0.1:4001",
		"node:4001":      "node:4001",
	} {
		if got, err := target(admin); err != nil || got != want {
			t.Errorf("%s: got %q, %v", admin, got, err)
		}
	}
}

func TestAsksReadyz(t *testing.T) {
	status, text := http.StatusOK, "ok\n"
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/readyz" {
			t.Errorf("asked for %s", r.URL.Path)
		}
		w.WriteHeader(status)
		_, _ = w.Write([]byte(text)) // the test looks at what arrived
	}))
	defer server.Close()
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if err := Ask(t.Context(), "127.0.0.1:"+port); err != nil {
		t.Errorf("ready: %v", err)
	}
	status, text = http.StatusServiceUnavailable, "no router answers\n"
	if err := Ask(t.Context(), "127.0.0.1:"+port); err == nil || err.Error() != "not ready: no router answers" {
		t.Errorf("not ready: %v", err)
	}
}

func TestSaysWhyItCannotAsk(t *testing.T) {
	gone := httptest.NewServer(http.NotFoundHandler())
	address := gone.Listener.Addr().String()
	gone.Close()
	for admin, want := range map[string]string{"": "set admin", "4001": "missing port", address: "refused"} {
		if err := Ask(t.Context(), admin); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v does not say %q", admin, err, want)
		}
	}
}
