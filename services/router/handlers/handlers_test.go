package handlers

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/skein-mesh/skein/pkg/namespace"
	handlerv1 "github.com/skein-mesh/skein/proto/gen/skein/handler/v1"
)

func TestTheNamespaceNamesTheBackend(t *testing.T) {
	all := append(chat("passthrough:///chat:1"), namespace.Namespace{Topics: "room:vip", Handler: "passthrough:///vip:1"}, namespace.Namespace{Topics: "*"})
	inWorld(t, 8, all, func(t *testing.T, w *world) {
		seen := make(chan *handlerv1.JoinRequest, 1)
		answer := &handlerv1.JoinResponse{
			Refused: true, Reply: &handlerv1.Payload{Kind: &handlerv1.Payload_Json{Json: []byte(`{"a": 1}`)}}, Assigns: []byte(`{}`),
			Pushes: []*handlerv1.Event{{Name: "hello"}}, Presence: &handlerv1.Person{Key: "ann", Meta: []byte(`{"x":1}`)},
		}
		backend, vip, gate := &fake{join: func(r *handlerv1.JoinRequest) *handlerv1.JoinResponse { seen <- r; return answer }}, &fake{}, &fake{}
		w.serve("chat:1", backend)
		w.serve("vip:1", vip)
		w.serve("gate:1", gate)
		req := &handlerv1.JoinRequest{Caller: caller("room:1"), Params: &handlerv1.Payload{Kind: &handlerv1.Payload_Binary{Binary: []byte{1}}}}
		resp, err := w.Join(t.Context(), req)
		if err != nil || !proto.Equal(resp, answer) || !proto.Equal(<-seen, req) {
			t.Errorf("got %v, %v", resp, err)
		}
		for _, method := range methods {
			w.expect(w.ask(t.Context(), method, "room:vip"), codes.OK)
		}
		if vip.count("join") != 1 || vip.count("push") != 1 || vip.count("leave") != 1 || vip.count("connect") != 0 {
			t.Errorf("vip was asked %v", vip.calls)
		}
		if gate.count("connect") != 1 || gate.count("check_origin") != 1 || gate.count("join") != 0 {
			t.Errorf("gate was asked %v", gate.calls)
		}
		err = w.ask(t.Context(), "push", "lobby\n")
		w.expect(err, codes.FailedPrecondition)
		if !strings.Contains(err.Error(), `topic "lobby\n": routers and edges need the same namespaces`) {
			t.Error(err)
		}
		calls, underWay := w.outcomes()
		want := map[string]int64{
			"join answered": 2, "push answered": 1, "leave answered": 1, "connect answered": 1, "check_origin answered": 1, "push unconfigured": 1,
		}
		if !maps.Equal(calls, want) || underWay != 0 {
			t.Errorf("counted %v, %d under way", calls, underWay)
		}
	})
}

func TestASlowBackendHasItsTimeAndNoMore(t *testing.T) {
	inWorld(t, 8, chat("passthrough:///chat:1"), func(t *testing.T, w *world) {
		w.serve("chat:1", &fake{before: stuck})
		w.serve("gate:1", &fake{before: stuck})
		took := func(ctx context.Context, method string, want time.Duration) {
			t.Helper()
			began := time.Now()
			w.expect(w.ask(ctx, method, "room:1"), codes.DeadlineExceeded)
			if got := time.Since(began); got != want {
				t.Errorf("%s took %s, want %s", method, got, want)
			}
		}
		took(t.Context(), "join", 2*time.Second)
		took(t.Context(), "connect", time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		took(ctx, "push", time.Millisecond)
		ctx, cancel = context.WithCancel(t.Context())
		time.AfterFunc(time.Millisecond, cancel)
		w.expect(w.ask(ctx, "leave", "room:1"), codes.Canceled)
		calls, _ := w.outcomes()
		if want := map[string]int64{"join timeout": 1, "connect timeout": 1, "push timeout": 1, "leave cancelled": 1}; !maps.Equal(calls, want) {
			t.Errorf("counted %v", calls)
		}
	})
}

func TestABackendThatIsDown(t *testing.T) {
	inWorld(t, 8, chat("passthrough:///chat:1"), func(t *testing.T, w *world) {
		began := time.Now()
		for _, method := range methods {
			w.expect(w.ask(t.Context(), method, "room:1"), codes.Unavailable)
		}
		if got := time.Since(began); got > 5*time.Second {
			t.Errorf("took %s", got)
		}
		w.serve("chat:1", &fake{})
		time.Sleep(3 * time.Second) // virtual time
		w.expect(w.ask(t.Context(), "push", "room:1"), codes.OK)
	})
}

func TestOnlyWhatMayBeAskedTwiceIsRetried(t *testing.T) {
	inWorld(t, 8, chat("passthrough:///chat:1"), func(t *testing.T, w *world) {
		failures := map[string]int{}
		f := &fake{before: func(_ context.Context, method string) error {
			if failures[method]--; failures[method] >= 0 {
				return status.Error(codes.Unavailable, "try again")
			}
			return nil
		}}
		w.serve("chat:1", f)
		w.serve("gate:1", f)
		for _, method := range methods {
			failures[method] = 2
			err := w.ask(t.Context(), method, "room:1")
			attempts, code := 3, codes.OK
			if method == "push" {
				attempts, code = 1, codes.Unavailable
			}
			w.expect(err, code)
			if f.count(method) != attempts {
				t.Errorf("%s was tried %d times", method, f.count(method))
			}
		}
		failures["join"] = 10
		w.expect(w.ask(t.Context(), "join", "room:1"), codes.Unavailable)
		if got := f.count("join"); got != 6 {
			t.Errorf("a join was tried %d times", got-3)
		}
	})
}

func TestRetriesEndWhenMostCallsFail(t *testing.T) {
	inWorld(t, 8, chat("passthrough:///chat:1"), func(t *testing.T, w *world) {
		f := &fake{before: func(context.Context, string) error { return status.Error(codes.Unavailable, "no") }}
		w.serve("chat:1", f)
		const calls = 100
		for range calls {
			w.expect(w.ask(t.Context(), "join", "room:1"), codes.Unavailable)
		}
		if got := f.count("join"); got < calls || got > calls+40 {
			t.Errorf("%d calls made %d attempts", calls, got)
		}
	})
}

func TestAStuckBackendHoldsNothingOfOthers(t *testing.T) {
	all := append(chat("passthrough:///chat:1"), namespace.Namespace{Topics: "game:*", Handler: "passthrough:///game:1"})
	inWorld(t, 4, all, func(t *testing.T, w *world) {
		w.serve("chat:1", &fake{before: stuck})
		w.serve("game:1", &fake{})
		failed := make(chan error)
		for range 4 {
			go func() { failed <- w.ask(context.Background(), "push", "room:1") }()
		}
		time.Sleep(time.Millisecond) // virtual time
		began := time.Now()
		w.expect(w.ask(t.Context(), "push", "room:2"), codes.ResourceExhausted)
		for range 10 {
			w.expect(w.ask(t.Context(), "push", "game:1"), codes.OK)
		}
		if got := time.Since(began); got != 0 {
			t.Errorf("took %s", got)
		}
		if _, underWay := w.outcomes(); underWay != 4 {
			t.Errorf("%d calls under way", underWay)
		}
		for range 4 {
			w.expect(<-failed, codes.DeadlineExceeded)
		}
		calls, _ := w.outcomes()
		if want := map[string]int64{"push timeout": 4, "push overloaded": 1, "push answered": 10}; !maps.Equal(calls, want) {
			t.Errorf("counted %v", calls)
		}
	})
}

func TestCallsGoOnWhenAnInstanceDies(t *testing.T) {
	inWorld(t, 8, chat(pair), func(t *testing.T, w *world) {
		one, two := &fake{}, &fake{}
		w.serve("one:1", one)
		w.serve("two:1", two)
		for i := range 100 {
			if i == 50 {
				if a, b := one.count("join")+one.count("push"), two.count("join")+two.count("push"); a < 40 || b < 40 {
					t.Errorf("unfair: %d and %d", a, b)
				}
				w.kill("one:1")
			}
			w.expect(w.ask(t.Context(), "join", "room:1"), codes.OK)
			w.expect(w.ask(t.Context(), "push", "room:1"), codes.OK)
			time.Sleep(time.Millisecond) // virtual time
		}
		if got := one.count("push") + two.count("push"); got != 100 {
			t.Errorf("100 pushes arrived %d times", got)
		}
	})
}

func TestAnInstanceThatFailsIsLeftOut(t *testing.T) {
	inWorld(t, 8, chat(pair), func(t *testing.T, w *world) {
		good := &fake{}
		sick := &fake{before: func(context.Context, string) error { return errors.New("out of order") }}
		w.serve("one:1", good)
		w.serve("two:1", sick)
		failures := func(calls int) (failed int) {
			for range calls {
				if w.ask(t.Context(), "push", "room:1") != nil {
					failed++
				}
				time.Sleep(10 * time.Millisecond) // virtual time
			}
			return failed
		}
		if failures(100) < 20 {
			t.Error("the sick instance was hardly asked")
		}
		time.Sleep(5 * time.Second) // virtual time
		if got := failures(100); got != 0 {
			t.Errorf("%d of 100 calls went to the sick instance", got)
		}
	})
}

func TestAnInstanceMayTakeItselfOut(t *testing.T) {
	inWorld(t, 8, chat(pair), func(t *testing.T, w *world) {
		one, two, checks := &fake{}, &fake{}, health.NewServer()
		w.serve("one:1", one)
		w.serve("two:1", two, func(r grpc.ServiceRegistrar) { healthv1.RegisterHealthServer(r, checks) })
		checks.SetServingStatus("", healthv1.HealthCheckResponse_NOT_SERVING)
		for range 10 {
			w.expect(w.ask(t.Context(), "push", "room:1"), codes.OK)
		}
		time.Sleep(time.Second) // virtual time
		before := two.count("push")
		for range 10 {
			w.expect(w.ask(t.Context(), "push", "room:1"), codes.OK)
		}
		if before > 0 || two.count("push") != before {
			t.Errorf("the instance that takes itself out was asked %d times", two.count("push"))
		}
		checks.Shutdown()
	})
}

func TestCodesOfBackends(t *testing.T) {
	inWorld(t, 8, chat("passthrough:///chat:1"), func(t *testing.T, w *world) {
		var code codes.Code
		w.serve("chat:1", &fake{before: func(context.Context, string) error { return status.Error(code, "because\n"+strings.Repeat("x", 1000)) }})
		pass := []codes.Code{codes.DeadlineExceeded, codes.Unavailable, codes.ResourceExhausted}
		for code = codes.Canceled; code <= codes.Unauthenticated; code++ {
			want := codes.Internal
			if slices.Contains(pass, code) {
				want = code
			}
			err := w.ask(t.Context(), "push", "room:1")
			w.expect(err, want)
			if text := err.Error(); len(text) > 500 || !strings.Contains(text, fmt.Sprintf(`handler passthrough:///chat:1: %s: "because\n`, code)) {
				t.Errorf("%s: %q", code, text)
			}
		}
	})
}

func TestRubbishIsACrash(t *testing.T) {
	inWorld(t, 8, chat("passthrough:///chat:1"), func(t *testing.T, w *world) {
		size := 0
		w.serve("chat:1", &fake{
			join: func(*handlerv1.JoinRequest) *handlerv1.JoinResponse {
				return &handlerv1.JoinResponse{Assigns: []byte("secret\n")}
			},
			push: func(*handlerv1.PushRequest) *handlerv1.PushResponse {
				return &handlerv1.PushResponse{Assigns: make([]byte, size)}
			},
		})
		err := w.ask(t.Context(), "join", "room:1")
		w.expect(err, codes.Internal)
		if !strings.HasSuffix(err.Error(), "handler passthrough:///chat:1: answer: assigns: must be JSON text") {
			t.Error(err)
		}
		for _, size = range []int{MaxPayload + 1, MaxAnswer + 1, 17 << 20} {
			w.expect(w.ask(t.Context(), "push", "room:1"), codes.Internal)
		}
		calls, _ := w.outcomes()
		if want := map[string]int64{"join rubbish": 1, "push rubbish": 3}; !maps.Equal(calls, want) {
			t.Errorf("counted %v", calls)
		}
	})
}

func TestTracesGoThrough(t *testing.T) {
	inWorld(t, 8, chat("passthrough:///chat:1"), func(t *testing.T, w *world) {
		var parent []string
		w.serve("chat:1", &fake{before: func(ctx context.Context, _ string) error {
			parent = metadata.ValueFromIncomingContext(ctx, "traceparent")
			return nil
		}})
		span := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: trace.FlagsSampled})
		w.expect(w.ask(trace.ContextWithRemoteSpanContext(t.Context(), span), "push", "room:1"), codes.OK)
		if len(parent) != 1 || !strings.Contains(parent[0], span.TraceID().String()) {
			t.Errorf("the backend got %v", parent)
		}
	})
}

func TestAfterItsEndAProxyAsksNobody(t *testing.T) {
	inWorld(t, 8, chat("passthrough:///chat:1"), func(t *testing.T, w *world) {
		f := &fake{}
		w.serve("chat:1", f)
		w.expect(w.ask(t.Context(), "push", "room:1"), codes.OK)
		w.backends["passthrough:///chat:1"].close()
		w.expect(w.ask(t.Context(), "push", "room:1"), codes.Unavailable)
		if f.count("push") != 1 {
			t.Error("it was asked")
		}
	})
}

func TestATargetThatCannotBeDialled(t *testing.T) {
	inWorld(t, 8, chat("%zz:///"), func(t *testing.T, w *world) {
		w.expect(w.ask(t.Context(), "join", "room:1"), codes.Internal)
	})
}

func TestTargetsOfXDSAreKnown(t *testing.T) {
	inWorld(t, 8, chat("xds:///chat"), func(t *testing.T, w *world) {
		// Without a bootstrap file it cannot go further than to say so.
		if err := w.ask(t.Context(), "join", "room:1"); err == nil || !strings.Contains(err.Error(), "bootstrap") {
			t.Error(err)
		}
	})
}
