package admit

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var (
	ada = netip.MustParseAddr("192.0.2.1")
	bob = netip.MustParseAddr("192.0.2.2")
)

func TestTheFourthRefusalWaits(t *testing.T) {
	r := NewRefusals(DefaultSlowness())
	now := time.Unix(0, 0)
	for i, want := range []time.Duration{0, 0, 0, time.Second, time.Second} {
		if got := r.refused(ada, now); got != want {
			t.Errorf("refusal %d waits %s", i+1, got)
		}
	}
	if got := r.refused(bob, now); got != 0 {
		t.Errorf("another address waits %s", got)
	}
	now = now.Add(time.Second) // it tries again at once: it stays slow
	for range 100 {
		if got := r.refused(ada, now); got != time.Second {
			t.Fatalf("waits %s", got)
		}
		now = now.Add(time.Second)
	}
	now = now.Add(2 * DefaultSlowness().Within)
	if got := r.refused(ada, now); got != 0 {
		t.Errorf("it is never forgotten: waits %s", got)
	}
}

func TestSuccessForgets(t *testing.T) {
	r := NewRefusals(DefaultSlowness())
	now := time.Unix(0, 0)
	for range 3 {
		r.refused(ada, now)
	}
	r.admitted(ada)
	r.admitted(bob)
	if got := r.refused(ada, now); got != 0 {
		t.Errorf("waits %s", got)
	}
}

func TestOneClientIsOneNetwork(t *testing.T) {
	r := NewRefusals(Slowness{Free: 1, Within: time.Second, Delay: time.Second})
	now := time.Unix(0, 0)
	for _, c := range []struct {
		address string
		want    time.Duration
	}{
		{"2001:db8::1", 0}, {"2001:db8::ffff:1", time.Second}, {"2001:db8:0:1::1", 0}, {"fe80::1%eth0", 0}, {"fe80::2%eth1", time.Second},
		{"192.0.2.1", 0}, {"::ffff:192.0.2.1", time.Second}, {"192.0.2.2", 0},
	} {
		if got := r.refused(netip.MustParseAddr(c.address), now); got != c.want {
			t.Errorf("%s waits %s", c.address, got)
		}
	}
	for range 5 { // no address: nobody knows who it is
		if got := r.refused(netip.Addr{}, now); got != 0 {
			t.Errorf("waits %s", got)
		}
	}
	off := NewRefusals(Slowness{Free: 1, Within: time.Second})
	for range 5 {
		if got := off.refused(ada, now); got != 0 {
			t.Errorf("waits %s, and is off", got)
		}
	}
}

func TestTheTableIsBounded(t *testing.T) {
	r := NewRefusals(DefaultSlowness())
	now := time.Unix(0, 0)
	at := ada
	for range maxAddresses + 100 {
		r.refused(at, now)
		at = at.Next()
		r.refused(bob, now) // is not forgotten: it was refused lately
	}
	if len(r.byAddr) != maxAddresses || r.recent.Len() != maxAddresses {
		t.Errorf("%d addresses, %d in order", len(r.byAddr), r.recent.Len())
	}
	if r.refused(bob, now) == 0 || r.refused(ada, now) != 0 {
		t.Error("the wrong one was forgotten")
	}
}

// Nobody waits who was refused less often than he may be, over any time.
func TestSeldomRefusalsNeverWait(t *testing.T) {
	s := DefaultSlowness()
	rapid.Check(t, func(t *rapid.T) {
		r, now := NewRefusals(s), time.Unix(0, 0)
		var all []time.Time
		for range rapid.IntRange(1, 50).Draw(t, "refusals") {
			now = now.Add(time.Duration(rapid.IntRange(0, 12_000).Draw(t, "ms")) * time.Millisecond)
			all = append(all, now)
			waits := r.refused(ada, now) > 0
			if n := len(all); waits && n <= s.Free {
				t.Fatalf("refusal %d waits", n)
			}
			if n := len(all); n > s.Free && !waits && now.Equal(all[n-1-s.Free]) {
				t.Fatalf("%d refusals at once, and none waits", s.Free+1)
			}
		}
	})
}

func TestEveryProblemOfSlownessIsReported(t *testing.T) {
	if err := DefaultSlowness().Validate(); err != nil {
		t.Error(err)
	}
	err := Slowness{Delay: time.Hour}.Validate()
	if err == nil || strings.Count(err.Error(), "refuse-slowly-") != 3 {
		t.Error(err)
	}
}
