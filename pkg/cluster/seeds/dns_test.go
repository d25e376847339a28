package seeds

import (
	"context"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	mdns "github.com/miekg/dns"
)

// zone is a DNS server on loopback.
type zone struct {
	address string

	mu      sync.Mutex
	records []string // in the format of zone files
	silent  bool     // it answers nothing
}

// serveZone starts a server that ends with the test.
func serveZone(t *testing.T, records ...string) *zone {
	t.Helper()
	z := &zone{records: records}
	conn, err := new(net.ListenConfig).ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	z.address = conn.LocalAddr().String()
	started := make(chan struct{})
	server := &mdns.Server{PacketConn: conn, Handler: z, NotifyStartedFunc: func() { close(started) }}
	done := make(chan error, 1)
	go func() { done <- server.ActivateAndServe() }()
	<-started
	t.Cleanup(func() {
		if err := server.Shutdown(); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return z
}

func (z *zone) set(silent bool, records ...string) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.records, z.silent = records, silent
}

// ServeDNS implements [mdns.Handler].
func (z *zone) ServeDNS(w mdns.ResponseWriter, request *mdns.Msg) {
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.silent {
		return
	}
	reply := new(mdns.Msg)
	reply.SetReply(request)
	reply.Authoritative = true
	named := false
	for _, text := range z.records {
		record, err := mdns.NewRR(text)
		if err != nil || record.Header().Name != request.Question[0].Name {
			continue
		}
		named = true
		if record.Header().Rrtype == request.Question[0].Qtype {
			reply.Answer = append(reply.Answer, record)
		}
	}
	if !named {
		reply.Rcode = mdns.RcodeNameError
	}
	_ = w.WriteMsg(reply) // a test that waits for it fails
}

// strategy is the strategy that an operator's text stands for, at this server.
func (z *zone) strategy(t *testing.T, text string) Strategy {
	t.Helper()
	d, err := parseDNS(text, 7946)
	if err != nil {
		t.Fatal(err)
	}
	d.resolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", z.address)
	}}
	return d
}

func TestDNS(t *testing.T) {
	z := serveZone(t,
		"routers.test. 5 A 10.0.0.1", "routers.test. 5 A 10.0.0.2", "routers.test. 5 AAAA fd00::1",
		"old.test. 5 A 10.0.0.9", "text.test. 5 TXT hello",
		"_gossip._tcp.routers.test. 5 SRV 0 1 7000 r1.test.", "_gossip._tcp.routers.test. 5 SRV 0 1 7001 r2.test.",
		"_gossip._tcp.routers.test. 5 SRV 0 1 7002 gone.test.",
		"r1.test. 5 A 10.0.1.1", "r2.test. 5 AAAA fd00::2",
		"_gossip._tcp.stale.test. 5 SRV 0 1 7002 gone.test.",
	)
	for text, want := range map[string]struct {
		addresses []string
		why       reason
	}{
		"routers.test.":              {[]string{"10.0.0.1:7946", "10.0.0.2:7946", "[fd00::1]:7946"}, none},
		"old.test.:5":                {[]string{"10.0.0.9:5"}, none},
		"_gossip._tcp.routers.test.": {[]string{"10.0.1.1:7000", "[fd00::2]:7001"}, none},
		"_gossip._tcp.stale.test.":   {nil, notFound},
		"gone.test.":                 {nil, notFound},
		"text.test.":                 {nil, notFound},
	} {
		got, err := z.strategy(t, text).Addresses(t.Context())
		slices.Sort(got)
		if classify(err) != want.why || !slices.Equal(got, want.addresses) {
			t.Errorf("%s: %q, %v", text, got, err)
		}
	}
}

// What DNS says now counts; while it says nothing, what it said last.
func TestDNSIsAskedAgain(t *testing.T) {
	z := serveZone(t, "routers.test. 5 A 10.0.0.1")
	w, log := watch(t, Options{Interval: MinInterval}, z.strategy(t, "routers.test."))
	eventually(t, w, "10.0.0.1:7946")
	z.set(false, "routers.test. 5 A 10.0.0.2", "routers.test. 5 A 10.0.0.3")
	eventually(t, w, "10.0.0.2:7946", "10.0.0.3:7946")
	z.set(false)
	logged(t, log, "reason=not_found")
	z.set(false, "routers.test. 5 A 10.0.0.4")
	eventually(t, w, "10.0.0.4:7946")
}

func TestDNSIsSilent(t *testing.T) {
	z := serveZone(t)
	z.set(true)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if got, err := z.strategy(t, "routers.test.").Addresses(ctx); classify(err) != timeout {
		t.Errorf("%q, %v", got, err)
	}
}

func TestDNSIsNotThere(t *testing.T) {
	z := &zone{address: "127.0.0.1:1"} // nobody listens there
	if got, err := z.strategy(t, "routers.test.").Addresses(t.Context()); classify(err) != unreachable {
		t.Errorf("%q, %v", got, err)
	}
}
