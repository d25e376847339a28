package edge

import (
	"fmt"
	"net/netip"
)

// ProxyProtocol says whether balancers tell the addresses of clients.
type ProxyProtocol struct {
	Proxied bool     `conf:"proxy-protocol" usage:"every connection of a client begins with a header of the PROXY protocol, version 1 or 2, as HAProxy sends it with send-proxy-v2 and nginx with proxy_protocol on; connections without one are refused"`
	From    []string `conf:"proxy-protocol-from" usage:"networks of the balancers, such as 10.0.0.0/24, whose header is believed; with proxy-protocol, others are refused"`
}

func (p ProxyProtocol) validate(check func(ok bool, format string, args ...any)) {
	check(!p.Proxied || len(p.From) > 0, "proxy-protocol-from: with proxy-protocol, at least one network is required")
	for _, network := range p.From {
		_, err := parseNetwork(network)
		check(err == nil, "proxy-protocol-from: %q is neither a network such as 10.0.0.0/24 nor an address", network)
	}
}

// balancers are the networks that must introduce their clients; none without the
// PROXY protocol. p must be valid.
func (p ProxyProtocol) balancers() ([]netip.Prefix, error) {
	if !p.Proxied {
		return nil, nil
	}
	networks := make([]netip.Prefix, 0, len(p.From))
	for _, text := range p.From {
		network, err := parseNetwork(text)
		if err != nil {
			return nil, fmt.Errorf("proxy-protocol-from: %w", err)
		}
		networks = append(networks, network)
	}
	return networks, nil
}

// parseNetwork reads a network; an address is a network of one.
func parseNetwork(text string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(text); err == nil {
		addr = addr.Unmap().WithZone("")
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	network, err := netip.ParsePrefix(text)
	if err == nil && network.Addr().Is4In6() {
		return network, fmt.Errorf("%s: write the IPv4 network as such", text) // it would contain no address
	}
	return network.Masked(), err
}
