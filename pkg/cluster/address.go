package cluster

import (
	"errors"
	"fmt"
	"net"
)

// Reachable returns the address at which others reach a server that listens on
// listen: advertise if it is given, else listen itself, with the host's first
// private address in place of "every interface".
func Reachable(listen net.Addr, advertise string) (string, error) {
	if advertise != "" {
		return advertise, nil
	}
	tcp, ok := listen.(*net.TCPAddr)
	if !ok || !tcp.IP.IsUnspecified() {
		return listen.String(), nil
	}
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return "", fmt.Errorf("cluster: find this host's address: %w", err)
	}
	for _, a := range addresses {
		if network, ok := a.(*net.IPNet); ok && network.IP.IsPrivate() {
			return (&net.TCPAddr{IP: network.IP, Port: tcp.Port}).String(), nil
		}
	}
	return "", errors.New("cluster: this host has no private address: say which one others reach it at")
}

// Loopback reports whether address, "host:port", can be reached from this
// machine only.
func Loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
