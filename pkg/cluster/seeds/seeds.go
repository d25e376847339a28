// Package seeds finds the addresses of members to begin with: from a list, a
// file, DNS, the Kubernetes API or a command.
//
// A [Strategy] is one way to ask. A [List] is what operators write, and may name
// several. A [Watcher] asks them again and again and keeps the last good answer
// of each, so that a fleet whose members all came back elsewhere finds itself
// again, and one whose DNS is down for an hour does not notice.
//
// # Strategies
//
//	HOST:PORT,HOST:PORT             a list; names are resolved by whoever dials
//	static:HOST:PORT,HOST:PORT      the same
//	file:PATH                       one HOST:PORT on a line, # begins a comment
//	dns:NAME[:PORT],...             A and AAAA records
//	dns:_service._tcp.NAME,...      SRV records
//	kubernetes:[NAMESPACE/]SELECTOR[:PORT]  pods that are ready or about to be
//	exec:COMMAND ARGS               a command that prints what a file would say
//
// An answer that names nobody counts as a failure: there is nothing to be done
// with it, and more often than not somebody is about to write the rest.
//
// # Goroutines
//
// [Watcher.Run] has one for each strategy that can change its mind, and one more
// for each file, and waits for all of them.
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

// Strategy is one way to learn addresses. Its methods are called by one
// goroutine at a time.
type Strategy interface {
	// Addresses returns where members can be reached now, "host:port" each, in any
	// order. It returns soon after ctx ends.
	Addresses(ctx context.Context) ([]string, error)
}

// notifier is a strategy that notices a change itself.
type notifier interface {
	// notify calls changed after each change until ctx ends. An error says why it
	// cannot; then changes are found by asking.
	notify(ctx context.Context, changed func()) error
}

// Static is a strategy that never changes its mind. Hosts may be names.
type Static []string

// Addresses implements [Strategy].
func (s Static) Addresses(context.Context) ([]string, error) { return s, nil }

// Func is a strategy that is one function.
type Func func(ctx context.Context) ([]string, error)

// Addresses implements [Strategy].
func (f Func) Addresses(ctx context.Context) ([]string, error) { return f(ctx) }

// checkAddress reports why text is not "host:port" with a host that can be
// looked up or dialled.
func checkAddress(text string) error {
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		return fmt.Errorf("%.100q is not host:port", text)
	}
	if _, err := parsePort(port); err != nil {
		return fmt.Errorf("%.100q: %w", text, err)
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return nil
	}
	if err := checkName(host); err != nil {
		return fmt.Errorf("%.100q: %w", text, err)
	}
	return nil
}

func parsePort(text string) (uint16, error) {
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil || port == 0 {
		return 0, fmt.Errorf("the port must be 1 to 65535, not %.20q", text)
	}
	return uint16(port), nil
}

// checkName reports why name cannot be a host's. It takes underscores, which
// container networks use.
func checkName(name string) error {
	const most = 253 // of DNS
	if name == "" || len(name) > most {
		return fmt.Errorf("a host's name has 1 to %d bytes", most)
	}
	for label := range strings.SplitSeq(strings.TrimSuffix(name, "."), ".") {
		if label == "" || len(label) > 63 || strings.ContainsFunc(label, func(r rune) bool { return !nameRune(r) }) {
			return errors.New("a host's name has parts of 1 to 63 letters, digits, '-' and '_', with dots between them")
		}
	}
	return nil
}

func nameRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_'
}
