package edge

import (
	"fmt"
	"net/url"
	"strings"
)

// Words of the check-origin option.
const (
	originOwn = "own"
	originOff = "off"
)

// origins says pages of which origin may connect. Requests without an Origin
// header, from anything but a browser, always may.
type origins struct {
	all     bool
	own     bool
	allowed []origin
}

// origin is a pattern; empty parts match everything.
type origin struct {
	scheme, host, port string
	wild               bool // host and everything below it
}

// parseOrigins reads "own", "off", or patterns such as "https://example.com",
// "//example.com:8443" and "//*.example.com".
func parseOrigins(words []string) (origins, error) {
	var o origins
	for _, word := range words {
		switch word {
		case originOff:
			o.all = true
		case originOwn:
			o.own = true
		default:
			u, err := url.Parse(word)
			if err != nil || u.Hostname() == "" || u.Path != "" || u.User != nil {
				return origins{}, fmt.Errorf("check-origin: %q is neither own, off nor like https://example.com or //*.example.com", word)
			}
			host, wild := strings.CutPrefix(u.Hostname(), "*.")
			o.allowed = append(o.allowed, origin{scheme: u.Scheme, host: host, port: u.Port(), wild: wild})
		}
	}
	if len(words) == 0 || o.all && len(words) > 1 {
		return origins{}, fmt.Errorf("check-origin: %q must be own, a list of origins, or off alone", strings.Join(words, ","))
	}
	return o, nil
}

// allow reports whether a page of the origin may connect to host, which is the
// Host header of its request. As in Phoenix, ports make no difference for one's
// own host.
func (o origins) allow(from, host string) bool {
	if o.all {
		return true
	}
	u, err := url.Parse(from)
	if err != nil || u.Hostname() == "" {
		return false
	}
	if o.own && strings.EqualFold(u.Hostname(), (&url.URL{Host: host}).Hostname()) {
		return true
	}
	for _, a := range o.allowed {
		if a.match(u) {
			return true
		}
	}
	return false
}

func (a origin) match(u *url.URL) bool {
	if a.scheme != "" && a.scheme != u.Scheme || a.port != "" && a.port != portOf(u) {
		return false
	}
	host := strings.ToLower(u.Hostname())
	want := strings.ToLower(a.host)
	return host == want || a.wild && strings.HasSuffix(host, "."+want)
}

func portOf(u *url.URL) string {
	switch {
	case u.Port() != "":
		return u.Port()
	case u.Scheme == "https":
		return "443"
	case u.Scheme == "http":
		return "80"
	default:
		return ""
	}
}
