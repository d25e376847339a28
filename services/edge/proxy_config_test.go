package edge

import (
	"strings"
	"testing"
)

func TestProxyProtocolSettings(t *testing.T) {
	for _, c := range []struct {
		name    string
		given   ProxyProtocol
		problem string // "" for none
		want    string // the networks
	}{
		{"off", ProxyProtocol{From: []string{"10.0.0.0/8"}}, "", ""},
		{"networks and addresses", ProxyProtocol{true, []string{"10.1.2.3/8", "::1", "192.0.2.7", "::ffff:192.0.2.8"}}, "", "10.0.0.0/8 ::1/128 192.0.2.7/32 192.0.2.8/32"},
		{"nobody", ProxyProtocol{true, nil}, "at least one network", ""},
		{"a name", ProxyProtocol{true, []string{"haproxy"}}, `"haproxy" is neither`, ""},
		{"too long", ProxyProtocol{true, []string{"10.0.0.0/33"}}, `"10.0.0.0/33" is neither`, ""},
		{"contains no address", ProxyProtocol{true, []string{"::ffff:10.0.0.0/104"}}, "neither a network", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := Default()
			cfg.ProxyProtocol = c.given
			err := cfg.Validate()
			if c.problem != "" {
				if err == nil || !strings.Contains(err.Error(), c.problem) {
					t.Fatalf("got %v, want %q in it", err, c.problem)
				}
				return
			}
			networks, bad := cfg.balancers()
			if err != nil || bad != nil {
				t.Fatalf("%v, %v", err, bad)
			}
			var got []string
			for _, n := range networks {
				got = append(got, n.String())
			}
			if strings.Join(got, " ") != c.want {
				t.Errorf("got %v, want %s", got, c.want)
			}
		})
	}
}
