package bench

import (
	"strings"
	"testing"
	"time"
)

func TestPrint(t *testing.T) {
	result := func(cpu, rss float64) *Result {
		return &Result{
			Sockets: 1000, Operation: "delivery", Connect: &Phase{Count: 1000, Seconds: 0.5, PerSecond: 2000},
			Fanout: &Fanout{
				Published: 500, Seconds: 10.1, PublishedPerSecond: 50, Expected: 500_000, Delivered: 499_999,
				DeliveriesPerSecond: 49504.9, Lost: 1, Latency: Latency{1.5, 2, 8.25, 20},
			},
			Processes: []Process{{Name: "edge", PID: 7, CPUSeconds: 4.5, CPUMicrosPerOperation: cpu, RSSBytes: 30 << 20, BytesPerSocket: rss}},
			Client:    Process{Name: "bench", CPUSeconds: 3, CPUMicrosPerOperation: 6, RSSBytes: 20 << 20},
		}
	}
	report := &Report{Scenario: "fanout", Floor: result(8, 500), Target: result(9, 1000)}
	report.Ratios = compare(report.Target, report.Floor)
	var out strings.Builder
	report.Print(&out)
	for _, want := range []string{
		"FLOOR: a bare epoll server\n", "TARGET\n",
		"published    500 accepted, 0 refused, 0 unanswered: 50/s\n",
		"delivered    499999 of 500000 in 10.1 s: 49505/s\n",
		"1 lost, 0 duplicated, 0 out of order, 0 foreign\n",
		"latency      p50 1.50  p90 2.00  p99 8.25  max 20.00 ms\n",
		"edge             4.50 s CPU      9.00 us per delivery     30.0 MiB RSS\n",
		"cpu per delivery       1.12\n", "deliveries per second  1.00\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	floor, target := result(8, 500), result(9, 1000)
	floor.Fanout, target.Fanout = nil, nil
	if r := compare(target, floor); r.Memory != 2 || r.Rate != 0 {
		t.Errorf("idle sockets: %+v", r)
	}
	if report.Failed() == "" {
		t.Error("a loss is no failure")
	}
	if compare(report.Target, nil) != nil {
		t.Error("compared with nothing")
	}
}

func TestOptionsReportEveryProblem(t *testing.T) {
	fanout := FanoutOptions{Common: Common{Path: "x", Concurrency: -1, ConnectRate: -1, Settle: -1, Pids: []string{"x"}}, Via: "post", Rate: -1, Coalesce: time.Microsecond}
	if err := fanout.Validate(); err == nil || strings.Count(err.Error(), "\n")+1 != 16 {
		t.Errorf("got %v", err)
	}
	connect := ConnectOptions{Common: defaultCommon(), Joins: -1, Hold: -1}
	if err := connect.Validate(); err == nil || strings.Count(err.Error(), "\n")+1 != 4 {
		t.Errorf("got %v", err)
	}
	crowded := DefaultFanout()
	crowded.Sockets, crowded.Publishers = 2, 3
	if err := crowded.Validate(); err == nil || !strings.Contains(err.Error(), "more than its 2 sockets") {
		t.Errorf("got %v", err)
	}
	people := PeopleOptions{Common: Common{Edge: []string{"x"}, Path: "/", Concurrency: 1, Floor: true}, Hold: -1}
	if err := people.Validate(); err == nil || strings.Count(err.Error(), "\n")+1 != 6 {
		t.Errorf("got %v", err)
	}
	for _, o := range []interface{ Validate() error }{new(DefaultConnect()), new(DefaultJoin()), new(DefaultFanout()), new(DefaultPeople())} {
		if err := o.Validate(); err != nil {
			t.Errorf("defaults: %v", err)
		}
	}
}
