package daemon

import (
	"strings"
	"testing"

	"github.com/skein-mesh/skein/pkg/apikey"
	"github.com/skein-mesh/skein/pkg/tlsfiles"
)

func TestOffLoopbackNeedsProtection(t *testing.T) {
	files := tlsfiles.TLS{Cert: "c", Key: "k", CA: "a"}
	for name, test := range map[string]struct {
		change func(*Config)
		want   string // part of the error; "" if valid
	}{
		"loopback":             {func(*Config) {}, ""},
		"everywhere":           {func(c *Config) { c.GRPC = "0.0.0.0:5000" }, "grpc: 0.0.0.0:5000 is not a loopback address"},
		"everywhere, TLS":      {func(c *Config) { c.GRPC, c.TLS = "0.0.0.0:5000", files }, ""},
		"everywhere, insecure": {func(c *Config) { c.GRPC, c.Insecure = "0.0.0.0:5000", true }, ""},
		"half of TLS":          {func(c *Config) { c.TLS = tlsfiles.TLS{CA: "a"} }, "tls-key: is missing"},
		"bad keys":             {func(c *Config) { c.APIKeys = []apikey.Key{{}} }, "api-keys: key 1"},
	} {
		t.Run(name, func(t *testing.T) {
			c := Default("127.0.0.1:5000", "127.0.0.1:5001", 7946)
			test.change(&c)
			err := c.Validate()
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}
