package bench

import (
	"os"
	"testing"
	"time"
)

func TestTelemetry(t *testing.T) {
	o := DefaultTelemetry()
	o.Topics, o.Sockets, o.Publishers, o.Rate, o.Rounds, o.Turn = 4, 5, 4, 2000, 6, 40*time.Millisecond
	if err := o.Validate(); err != nil {
		t.Fatal(err)
	}
	report, err := Telemetry(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	measured := report.Target.Telemetry
	if report.Failed() != "" || measured.Off <= 0 {
		t.Errorf("%s: %+v", report.Failed(), measured)
	}
	if n := report.Target.Fanout.Published; n > 500 && measured.Spans == 0 {
		t.Errorf("no span of %d messages, of a third of which one in five is recorded", n)
	}
	for v, costs := range measured.Costs {
		if len(costs) != o.Rounds {
			t.Errorf("volume %d had %d turns, want %d", v, len(costs), o.Rounds)
		}
	}
}

func TestTelemetryOptions(t *testing.T) {
	for name, change := range map[string]func(*TelemetryOptions){
		"too few rounds":  func(o *TelemetryOptions) { o.Rounds = 5 },
		"too long":        func(o *TelemetryOptions) { o.Rounds, o.Turn = 100, time.Minute },
		"too short":       func(o *TelemetryOptions) { o.Turn = time.Millisecond },
		"no rate":         func(o *TelemetryOptions) { o.Rate = 0 },
		"no topics":       func(o *TelemetryOptions) { o.Topics = 0 },
		"more publishers": func(o *TelemetryOptions) { o.Publishers = o.Sockets + 1 },
	} {
		o := DefaultTelemetry()
		if change(&o); o.Validate() == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestCPUTime(t *testing.T) {
	before, err := cpuTime(os.Getpid())
	if err != nil || before <= 0 {
		t.Fatal(before, err)
	}
	for after := before; after < before+time.Millisecond; { // this is what uses it
		if after, err = cpuTime(os.Getpid()); err != nil {
			t.Fatal(err)
		}
	}
	u, err := process{pid: os.Getpid()}.read()
	if lag := before - u.cpu; err != nil || lag > time.Second {
		t.Errorf("/proc says %s, which is %s less: %v", u.cpu, lag, err)
	}
	const none = 1 << 22 // is more than Linux gives away
	if _, err := cpuTime(none); err == nil {
		t.Error("no error for a process that there is not")
	}
}
