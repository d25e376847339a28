package seeds

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// resolver is what is needed of [net.Resolver].
type resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
	LookupSRV(ctx context.Context, service, proto, name string) (string, []*net.SRV, error)
}

// dns asks for the records of a name.
type dns struct {
	host     string
	port     uint16 // 0 for SRV records, which have ports of their own
	resolver resolver
}

func parseDNS(text string, port uint16) (dns, error) {
	host, number, hasPort := strings.Cut(text, ":")
	if err := checkName(host); err != nil {
		return dns{}, fmt.Errorf("%.100q: %w", text, err)
	}
	switch labels := strings.SplitN(host, ".", 3); {
	case strings.HasPrefix(host, "_"):
		if len(labels) < 3 || !strings.HasPrefix(labels[1], "_") {
			return dns{}, fmt.Errorf("%.100q: the name of SRV records is such as _gossip._tcp.routers.example", text)
		}
		if hasPort {
			return dns{}, fmt.Errorf("%.100q: SRV records have ports of their own", text)
		}
		return dns{host, 0, net.DefaultResolver}, nil
	case strings.Trim(host, "0123456789") == "":
		return dns{}, fmt.Errorf("%.100q is no name to look up; a host that is called dns is static:dns:%s", text, text)
	}
	if hasPort {
		var err error
		if port, err = parsePort(number); err != nil {
			return dns{}, fmt.Errorf("%.100q: %w", text, err)
		}
	}
	return dns{host, port, net.DefaultResolver}, nil
}

// Addresses implements [Strategy].
func (d dns) Addresses(ctx context.Context) ([]string, error) {
	if d.port != 0 {
		return d.lookup(ctx, d.host, d.port)
	}
	_, records, err := d.resolver.LookupSRV(ctx, "", "", d.host)
	if err != nil && len(records) == 0 { // it returns the good ones beside an error about bad ones
		return nil, err
	}
	var (
		addresses []string
		errs      []error
	)
	for _, r := range records {
		found, err := d.lookup(ctx, r.Target, r.Port)
		addresses, errs = append(addresses, found...), append(errs, err)
	}
	if len(addresses) > 0 {
		return addresses, nil // a target without an address is one that starts or stops
	}
	return nil, errors.Join(errs...)
}

func (d dns) lookup(ctx context.Context, host string, port uint16) ([]string, error) {
	ips, err := d.resolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	addresses := make([]string, 0, len(ips))
	for _, ip := range ips {
		addresses = append(addresses, net.JoinHostPort(ip.Unmap().String(), strconv.Itoa(int(port))))
	}
	return addresses, nil
}
