package handshake_test

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/skein-mesh/skein/pkg/phx"
	"github.com/skein-mesh/skein/services/edge/handshake"
)

func TestParamsVersion(t *testing.T) {
	for _, tt := range []struct {
		query string
		want  phx.Version
		ok    bool
	}{
		{"", phx.V1, true},
		{"token=a", phx.V1, true},
		{"vsn=1.0.0", phx.V1, true},
		{"vsn=1.0.12", phx.V1, true},
		{"vsn=2.0.0", phx.V2, true},
		{"vsn=2.0.7", phx.V2, true},
		{"vsn=2.0.123456789012345678901234567890", phx.V2, true},
		{"vsn=", 0, false},
		{"vsn=1", 0, false},
		{"vsn=2", 0, false},
		{"vsn=2.0", 0, false},
		{"vsn=2.0.", 0, false},
		{"vsn=2.0.00", 0, false},
		{"vsn=2.0.07", 0, false},
		{"vsn=2.0.x", 0, false},
		{"vsn=2.0.1-rc", 0, false},
		{"vsn=2.1.0", 0, false},
		{"vsn=1.1.0", 0, false},
		{"vsn=3.0.0", 0, false},
		{"vsn=0.9.0", 0, false},
		{"vsn=abc", 0, false},
		{"vsn[]=2.0.0", 0, false},
		{"vsn[a]=2.0.0&vsn=2.0.0", 0, false},
		{"vsn=3.0.0&vsn=2.0.0", phx.V2, true},
		{"vsn=2.0.0&vsn=3.0.0", 0, false},
		{"VSN=3.0.0", phx.V1, true},
	} {
		params, err := handshake.ParseParams(tt.query)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := handshake.ParamsVersion(params); got != tt.want || ok != tt.ok {
			t.Errorf("%q: %v, %t", tt.query, got, ok)
		}
	}
}

func TestParseParams(t *testing.T) {
	for query, want := range map[string]url.Values{
		"":                    {},
		"&&":                  {},
		"a=1&b=2&a=3":         {"a": {"1", "3"}, "b": {"2"}},
		"a=x+y%20z&b=%C3%A4":  {"a": {"x y z"}, "b": {"ä"}},
		"a&=b&c=d=e&semi=1;2": {"a": {""}, "": {"b"}, "c": {"d=e"}, "semi": {"1;2"}},
		"a=%":                 nil,
		"a=%zz":               nil,
		"%ff=a":               nil,
		"a=%ff":               nil,
	} {
		got, err := handshake.ParseParams(query)
		if !reflect.DeepEqual(got, want) || (err != nil) != (want == nil) {
			t.Errorf("%q: %v, %v", query, got, err)
		}
	}
}

func TestBearerToken(t *testing.T) {
	for _, tt := range []struct {
		subprotocol, want string
		ok, fails         bool
	}{
		{"base64url.bearer.phx.dG9rMTIz", "tok123", true, false},
		{"base64url.bearer.phx.YQ==", "a", true, false},
		{"base64url.bearer.phx.YQ", "a", true, false},
		{"base64url.bearer.phx.fn5-", "~~~", true, false},
		{"base64url.bearer.phx.fn5+", "~~~", true, false}, // as btoa has it
		{"base64url.bearer.phx.Pz8_", "???", true, false},
		{"base64url.bearer.phx.Pz8/", "???", true, false},
		{"base64url.bearer.phx.", "", true, false},
		{"base64url.bearer.phx.!", "", true, true},
		{"base64url.bearer.phx.a", "", true, true},
		{"base64url.bearer.phx.____", "", true, true}, // not UTF-8
		{"phoenix", "", false, false},
		{"Base64url.bearer.phx.YQ", "", false, false},
		{"", "", false, false},
	} {
		got, ok, err := handshake.BearerToken(tt.subprotocol)
		if got != tt.want || ok != tt.ok || (err != nil) != tt.fails {
			t.Errorf("%q: %q, %t, %v", tt.subprotocol, got, ok, err)
		}
	}
}

func TestSubprotocols(t *testing.T) {
	const token = "base64url.bearer.phx.YQ"
	for _, tt := range []struct {
		name       string
		lines      []string
		configured []string
		token      string
		chosen     string
		ok         bool
	}{
		{"no header", nil, nil, "", "", true},
		{"no header, some configured", nil, []string{"mqtt"}, "", "", true},
		{"empty header, some configured", []string{" , "}, []string{"mqtt"}, "", "", true},
		{"ignored", []string{"phoenix"}, nil, "", "", true},
		{"configured", []string{"xyz, mqtt"}, []string{"mqtt"}, "", "mqtt", true},
		{"server's order", []string{"a,b"}, []string{"b", "a"}, "", "b", true},
		{"over lines", []string{"a", "b"}, []string{"b"}, "", "b", true},
		{"unknown", []string{"xyz"}, []string{"mqtt"}, "", "", false},
		{"another case", []string{"MQTT"}, []string{"mqtt"}, "", "", false},
		{"token", []string{"phoenix, " + token}, nil, "a", "phoenix", true},
		{"token alone", []string{token}, nil, "a", "", true},
		{"token over lines", []string{"phoenix", token}, nil, "a", "phoenix", true},
		{"token, some configured", []string{"phoenix, " + token}, []string{"mqtt"}, "a", "phoenix", true},
		{"token and a configured one", []string{"phoenix, mqtt, " + token}, []string{"mqtt"}, "a", "mqtt", true},
		{"token alone, some configured", []string{token}, []string{"mqtt"}, "a", "", true},
		{"token and an unknown one", []string{"xyz, " + token}, []string{"mqtt"}, "a", "", false},
		{"first token counts", []string{token + ", base64url.bearer.phx.Yg"}, nil, "a", "", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := handshake.ParseSubprotocols(tt.lines)
			if err != nil || s.Token != tt.token {
				t.Errorf("token %q, %v", s.Token, err)
			}
			if chosen, ok := s.Choose(tt.configured); chosen != tt.chosen || ok != tt.ok {
				t.Errorf("chose %q, %t", chosen, ok)
			}
		})
	}
	if _, err := handshake.ParseSubprotocols([]string{"phoenix, base64url.bearer.phx.!"}); err == nil {
		t.Error("a bad token is no error")
	}
}

func TestVisibleHeader(t *testing.T) {
	got := handshake.VisibleHeader(http.Header{
		"X-Forwarded-For":          {"10.0.0.1", "10.0.0.2"},
		"x-lower":                  {"a\xffb"},
		"Traceparent":              {"00-1-2-01"},
		"Tracestate":               {"a=b"},
		"User-Agent":               {"robot"},
		"Origin":                   {"https://a.test"},
		"Sec-WebSocket-Version":    {"13"},
		"Sec-WebSocket-Protocol":   {"phoenix, base64url.bearer.phx.YQ", "mqtt"},
		"Cookie":                   {"secret"},
		"Authorization":            {"secret"},
		"X-Phoenix-Authtoken":      {"secret"},
		"X-Phoenix-LongPoll-Token": {"secret"},
		"Host":                     {"a"},
	})
	want := http.Header{
		"X-Forwarded-For":        {"10.0.0.1", "10.0.0.2"},
		"X-Lower":                {"a\ufffdb"},
		"Traceparent":            {"00-1-2-01"},
		"Tracestate":             {"a=b"},
		"User-Agent":             {"robot"},
		"Origin":                 {"https://a.test"},
		"Sec-Websocket-Version":  {"13"},
		"Sec-Websocket-Protocol": {"phoenix, mqtt"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v", got)
	}
	if got := handshake.VisibleHeader(http.Header{"Sec-Websocket-Protocol": {"base64url.bearer.phx.YQ"}}); len(got) != 0 {
		t.Errorf("got %v", got)
	}
}

func TestOffersDeflate(t *testing.T) {
	for header, want := range map[string]bool{
		"":                                                                           false,
		"permessage-deflate":                                                         true,
		" permessage-deflate\t":                                                      true,
		"permessage-deflatex":                                                        false,
		"xpermessage-deflate":                                                        false,
		"x-webkit-deflate-frame":                                                     false,
		"bzip2, permessage-deflate":                                                  true,
		",,permessage-deflate,":                                                      true,
		"permessage-deflate, a; b=c":                                                 true,
		"permessage-deflate; ":                                                       false,
		"permessage-deflate;;":                                                       false,
		"permessage-deflate; a":                                                      false,
		"permessage-deflate; a, \x00":                                                false,
		"permessage-deflate, (":                                                      false,
		"permessage-deflate client":                                                  false,
		"permessage-deflate; client_max_window_bits":                                 true, // browsers
		"permessage-deflate; client_max_window_bits=15":                              true,
		"permessage-deflate; client_max_window_bits=8":                               true,
		`permessage-deflate; client_max_window_bits="10"`:                            true,
		`permessage-deflate; client_max_window_bits="1\0"`:                           true,
		`permessage-deflate; client_max_window_bits="10`:                             false,
		`permessage-deflate; client_max_window_bits=""`:                              false,
		"permessage-deflate; client_max_window_bits=":                                false,
		"permessage-deflate; client_max_window_bits=7":                               false,
		"permessage-deflate; client_max_window_bits=16":                              false,
		"permessage-deflate; client_max_window_bits=08":                              false,
		"permessage-deflate; client_max_window_bits=+9":                              false,
		"permessage-deflate; client_max_window_bits=9999999999999999999999":          false,
		"permessage-deflate; client_max_window_bits; client_max_window_bits":         false,
		"permessage-deflate; server_max_window_bits=15":                              true,
		"permessage-deflate; server_max_window_bits = 15":                            true,
		"permessage-deflate; server_max_window_bits=10":                              false,
		"permessage-deflate; server_max_window_bits":                                 false,
		"permessage-deflate; server_max_window_bits=10, permessage-deflate":          true,
		"permessage-deflate; server_no_context_takeover; client_no_context_takeover": true,
		"permessage-deflate;server_no_context_takeover;client_no_context_takeover":   true,
		"permessage-deflate; server_no_context_takeover=1":                           false,
		"permessage-deflate; server_no_context_takeover; server_no_context_takeover": false,
		"permessage-deflate; Server_No_Context_Takeover":                             false,
		"permessage-deflate; client_max_window_bits; server_max_window_bits=15, bzip2; level=\"9\"": true,
	} {
		if got := handshake.OffersDeflate([]string{header}); got != want {
			t.Errorf("%q: %t", header, got)
		}
	}
	if !handshake.OffersDeflate([]string{"bzip2", "permessage-deflate"}) {
		t.Error("the second line was not read")
	}
	if handshake.OffersDeflate([]string{"permessage-deflate", "=("}) {
		t.Error("a header that is not well formed was accepted")
	}
}

func FuzzParse(f *testing.F) {
	f.Add("vsn=2.0.0&token=a%20b", "phoenix, base64url.bearer.phx.dG9rMTIz", "permessage-deflate; client_max_window_bits")
	f.Add("vsn[]=2.0.0&%ff", "base64url.bearer.phx.a+b/c==", `permessage-deflate; server_max_window_bits="1\5", a;b`)
	f.Fuzz(func(t *testing.T, query, protocols, extensions string) {
		if params, err := handshake.ParseParams(query); err == nil {
			again, err := handshake.ParseParams(params.Encode())
			if err != nil || !reflect.DeepEqual(params, again) {
				t.Fatalf("%v became %v, %v", params, again, err)
			}
			if _, ok := handshake.ParamsVersion(params); ok && len(params["vsn"]) == 1 && !strings.Contains(params.Get("vsn"), ".0.") {
				t.Fatalf("served %q", params.Get("vsn"))
			}
		}
		s, err := handshake.ParseSubprotocols([]string{protocols})
		if err == nil && !utf8.ValidString(s.Token) {
			t.Fatalf("token %q", s.Token)
		}
		if chosen, ok := s.Choose([]string{"a", "b"}); ok && chosen != "" && !strings.Contains(protocols, chosen) {
			t.Fatalf("chose %q of %q", chosen, protocols)
		}
		if handshake.OffersDeflate([]string{extensions}) && !strings.Contains(extensions, "permessage-deflate") {
			t.Fatalf("accepted %q", extensions)
		}
		for name, values := range handshake.VisibleHeader(http.Header{"X-" + query: {protocols}, "Sec-Websocket-Protocol": {protocols}}) {
			if !utf8.ValidString(name) || !utf8.ValidString(values[0]) || strings.Contains(name, "Protocol") && strings.Contains(values[0], "base64url.bearer.phx.") && strings.HasPrefix(values[0], "base64url") {
				t.Fatalf("%q: %q", name, values)
			}
		}
	})
}

func FuzzBearerToken(f *testing.F) {
	f.Add("tok123")
	f.Fuzz(func(t *testing.T, token string) {
		if !utf8.ValidString(token) {
			return
		}
		for _, e := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding} {
			got, ok, err := handshake.BearerToken("base64url.bearer.phx." + e.EncodeToString([]byte(token)))
			if got != token || !ok || err != nil {
				t.Fatalf("got %q, %t, %v", got, ok, err)
			}
		}
	})
}
