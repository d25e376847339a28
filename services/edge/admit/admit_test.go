package admit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/skein-mesh/skein/pkg/bubble"
	"github.com/skein-mesh/skein/pkg/grant"
	"github.com/skein-mesh/skein/pkg/phx"
	"github.com/skein-mesh/skein/services/edge/handshake"
)

// tokens knows a few tokens by name; "slow" is never answered.
type tokens struct{}

func (tokens) Verify(token string, done func(*grant.Grant, error)) {
	switch token {
	case "ada":
		g, err := grant.Parse([]byte(`{"sub":"ada"}`))
		done(g, err)
	case "old":
		done(nil, fmt.Errorf("%w: by a minute", grant.ErrExpired))
	case "new":
		done(nil, fmt.Errorf("%w: no key", grant.ErrUnavailable))
	case "slow":
	default:
		done(nil, fmt.Errorf("%w: rubbish", grant.ErrInvalid))
	}
}

// backend answers what it is told, and remembers what it was asked.
type backend struct {
	answer Answer
	origin bool
	err    error

	claims []byte
	asked  int
}

func (b *backend) Connect(_ context.Context, _ *handshake.Request, claims []byte) (Answer, error) {
	b.claims = claims
	b.asked++
	return b.answer, b.err
}

func (b *backend) CheckOrigin(_ context.Context, r *handshake.Request) (bool, error) {
	return b.origin && r.HasOrigin, b.err
}

func gate(t *testing.T, c Config, b Backend, log *slog.Logger) *Gate {
	t.Helper()
	c.SetDefaults()
	g, err := New(c, Deps{
		Mount: "/socket", Tokens: tokens{}, Backend: b, Refusals: NewRefusals(DefaultSlowness()), Log: log, Meter: noop.Meter{},
	})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// request of a client with a token in a param, empty for none.
func request(token string) *handshake.Request {
	r := &handshake.Request{
		Transport: handshake.WebSocket, Version: phx.V2, Remote: netip.MustParseAddrPort("192.0.2.1:1234"),
		URL:    &url.URL{Scheme: "https", Host: "app.test", Path: "/socket/websocket"},
		Params: url.Values{"vsn": {"2.0.0"}},
	}
	if token != "" {
		r.Params.Set("token", token)
	}
	return r
}

func from(origin string) *handshake.Request {
	r := request("")
	r.Origin, r.HasOrigin = origin, true
	return r
}

func TestWhoMayConnect(t *testing.T) {
	open, token, handler := Config{}, Config{Connect: ConnectToken}, Config{Connect: ConnectHandler}
	asked := Config{CheckOrigin: []string{"handler"}}
	down := func() *backend { return &backend{err: errors.New("down")} }
	auth := request("rubbish")
	auth.AuthToken = "ada"
	other := request("")
	other.Params.Set("jwt", "ada")
	for _, c := range []struct {
		name    string
		config  Config
		backend *backend
		request *handshake.Request
		status  int
		user    string
		outcome outcome
	}{
		{"nobody in particular", open, nil, request(""), 0, "", admitted},
		{"a good token", open, nil, request("ada"), 0, "ada", admitted},
		{"a bad one is ignored", open, nil, request("rubbish"), 0, "", admitted},
		{"so is one whose key is not known", open, nil, request("new"), 0, "", admitted},
		{"own origin", open, nil, from("http://app.test:81"), 0, "", admitted},
		{"another origin", open, nil, from("https://evil.test"), 403, "", originRefused},
		{"empty origin", open, nil, from(""), 403, "", originRefused},
		{"no token", token, nil, request(""), 403, "", tokenMissing},
		{"good", token, nil, request("ada"), 0, "ada", admitted},
		{"authToken first", token, nil, auth, 0, "ada", admitted},
		{"another param", Config{Connect: ConnectToken, TokenParam: "jwt"}, nil, other, 0, "ada", admitted},
		{"bad", token, nil, request("rubbish"), 403, "", tokenInvalid},
		{"expired", token, nil, request("old"), 403, "", tokenExpired},
		{"key not known", token, nil, request("new"), 503, "", tokenUnavailable},
		{"handler says yes", handler, &backend{answer: Answer{User: "bob", Assigns: []byte(`{}`)}}, request("ada"), 0, "bob", admitted},
		{"handler leaves it to the token", handler, &backend{}, request("ada"), 0, "ada", admitted},
		{"handler does not mind a bad token", handler, &backend{}, request("old"), 0, "", admitted},
		{"handler says no", handler, &backend{answer: Answer{Refused: true}}, request(""), 403, "", handlerRefused},
		{"as it likes", handler, &backend{answer: Answer{Refused: true, Status: 429, Reason: "later"}}, request(""), 429, "", handlerRefused},
		{"but no as yes", handler, &backend{answer: Answer{Refused: true, Status: 200}}, request(""), 403, "", handlerRefused},
		{"handler is down", handler, down(), request("ada"), 503, "", handlerUnavailable},
		{"handler allows any origin", asked, &backend{origin: true}, from("null"), 0, "", admitted},
		{"handler refuses one", asked, &backend{}, from("https://app.test"), 403, "", originRefused},
		{"handler is not asked without one", asked, down(), request(""), 0, "", admitted},
		{"handler cannot say", asked, down(), from("https://app.test"), 503, "", handlerUnavailable},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := gate(t, c.config, c.backend, slog.New(slog.DiscardHandler))
			client, refusal := g.Admit(t.Context(), c.request)
			if refusal.Status != c.status || client.User != c.user || c.status == 0 && client.Version != phx.V2 || refusal.After != 0 {
				t.Errorf("%+v, %+v", client, refusal)
			}
			if c.backend != nil && c.backend.asked > 0 {
				if named := c.request.Params.Get("token") == "ada"; named != (c.backend.claims != nil) {
					t.Errorf("claims %s", c.backend.claims)
				}
				if c.status == 0 && string(client.Assigns) != string(c.backend.answer.Assigns) || refusal.Body != c.backend.answer.Reason {
					t.Errorf("%+v, %+v", client, refusal)
				}
			}
			for o := range outcomes {
				want := int64(0)
				if o == c.outcome {
					want = 1
				}
				if got := g.counts.outcomes[o].Load(); got != want {
					t.Errorf("%s: counted %d", o, got)
				}
			}
		})
	}
}

func TestRefusalsAreSlowedDownUntilOneSucceeds(t *testing.T) {
	g := gate(t, Config{Connect: ConnectToken}, nil, slog.New(slog.DiscardHandler))
	for i, want := range []time.Duration{0, 0, 0, time.Second} {
		if _, refusal := g.Admit(t.Context(), request("")); refusal.After != want {
			t.Errorf("refusal %d waits %s", i+1, refusal.After)
		}
	}
	if _, refusal := g.Admit(t.Context(), request("ada")); refusal.Status != 0 || refusal.After != 0 {
		t.Errorf("%+v", refusal)
	}
	if _, refusal := g.Admit(t.Context(), request("")); refusal.After != 0 || g.counts.slowed.Load() != 1 {
		t.Errorf("%+v, %d slowed", refusal, g.counts.slowed.Load())
	}
}

func TestNobodyWaitsForATokenLongerThanItsRequest(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		g := gate(t, Config{Connect: ConnectToken}, nil, slog.New(slog.DiscardHandler))
		if _, refusal := g.Admit(ctx, request("slow")); refusal.Status != 503 || refusal.After != 0 {
			t.Errorf("%+v", refusal)
		}
	})
}

func TestLogsSayWhyAndKeepSecrets(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		var text bytes.Buffer
		log := slog.New(slog.NewJSONHandler(&text, &slog.HandlerOptions{Level: slog.LevelDebug}))
		g := gate(t, Config{FilterParams: []string{"PIN"}}, nil, log)
		r := from("https://evil.test\n" + strings.Repeat("x", 1000))
		r.Params = url.Values{"token": {"s3cret"}, "my_pin": {"s3cret"}, "a": {"1\n"}, "long": {strings.Repeat("y", 1000)}}
		for range 10 {
			g.Admit(t.Context(), r)
		}
		if n := strings.Count(text.String(), "\n"); n != 1 {
			t.Errorf("%d lines", n)
		}
		time.Sleep(time.Second) // virtual time
		g.Admit(t.Context(), r)
		g.Admit(t.Context(), request("ada"))
		got := text.String()
		for _, want := range []string{
			`"reason":"origin_refused"`, `https://evil.test\\n`, "expected: //app.test with any scheme and port", `\"my_pin\": [FILTERED]`,
			`\"token\": [FILTERED]`, `\"a\": \"1\\n\"`, `"not_logged":9`, `"msg":"socket admitted"`, `"user":"\"ada\""`,
		} {
			if !strings.Contains(got, want) {
				t.Errorf("no %s in\n%s", want, got)
			}
		}
		if strings.Contains(got, "s3cret") || strings.Contains(got, strings.Repeat("y", 200)) || len(got) > 4000 {
			t.Errorf("it holds too much:\n%s", got)
		}
	})
}

func TestParamsInLogsAreBounded(t *testing.T) {
	g := gate(t, Config{}, nil, slog.New(slog.DiscardHandler))
	all := url.Values{}
	for i := range 100 {
		all.Set(fmt.Sprintf("p%03d", i), "x")
	}
	if got := g.params(all); !strings.HasSuffix(got, `"p019": "x", and 80 more`) {
		t.Error(got)
	}
}

func TestGatesThatCannotBe(t *testing.T) {
	for _, c := range []struct {
		config Config
		want   string
	}{
		{Config{Connect: "nobody"}, `connect: "nobody" is none of`},
		{Config{CheckOrigin: []string{"x"}}, "check-origin: "},
		{Config{FilterParams: []string{""}}, "filter-params: "},
		{Config{Connect: ConnectHandler}, "mount /m: a handler is asked"},
		{Config{CheckOrigin: []string{"handler"}}, "mount /m: a handler is asked"},
	} {
		c.config.SetDefaults()
		if _, err := New(c.config, Deps{Mount: "/m", Meter: noop.Meter{}}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v", c.config, err)
		}
	}
	if err := (&Config{}).Validate(); err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Errorf("not every problem: %v", err)
	}
}

func TestMetricsNameTheirMount(t *testing.T) {
	reader := metric.NewManualReader()
	meter := metric.NewMeterProvider(metric.WithReader(reader)).Meter("test")
	for _, mount := range []string{"/a", "/b"} {
		c := Config{Connect: ConnectToken}
		c.SetDefaults()
		g, err := New(c, Deps{Mount: mount, Refusals: NewRefusals(DefaultSlowness()), Log: slog.New(slog.DiscardHandler), Meter: meter})
		if err != nil {
			t.Fatal(err)
		}
		g.Admit(t.Context(), request("x")) // nobody checks tokens here
	}
	var got metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &got); err != nil {
		t.Fatal(err)
	}
	found := map[string]int64{}
	for _, m := range got.ScopeMetrics[0].Metrics {
		sum, _ := m.Data.(metricdata.Sum[int64])
		for _, p := range sum.DataPoints {
			mount, _ := p.Attributes.Value("mount")
			reason, _ := p.Attributes.Value("reason")
			found[m.Name+mount.AsString()+" "+reason.AsString()] = p.Value
		}
	}
	for _, mount := range []string{"/a", "/b"} {
		if found["skein.edge.admissions"+mount+" token_invalid"] != 1 {
			t.Errorf("%s is missing in %v", mount, found)
		}
	}
}
