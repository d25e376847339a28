package token

import (
	"strings"
	"testing"
)

func TestSignersOfEveryAlgorithm(t *testing.T) {
	for _, p := range pairs() {
		path := write(t, p.private)
		token := p.sign(t, "k1", map[string]any{"sub": "ada"})
		g, err := Check(t.Context(), config(func(c *Config) { c.Keys = []string{path} }), token)
		if err != nil || g.User != "ada" || p.signer.Algorithm() != p.algorithm {
			t.Errorf("%s: %v, %v", p.algorithm, g, err)
		}
		contents, err := Inspect(token)
		if err != nil || !strings.Contains(string(contents.Header), `"kid":"k1"`) || string(contents.Claims) != `{"sub":"ada"}` {
			t.Errorf("%s: %s %s, %v", p.algorithm, contents.Header, contents.Claims, err)
		}
	}
}

func TestSignersThatCannotBe(t *testing.T) {
	for _, c := range []struct {
		file            []byte
		algorithm, want string
	}{
		{nil, "", "is empty"},
		{pairs()["ES256"].public, "", "holds a public key"},
		{pairs()["ES256"].private, "HS256", `no key signs with "HS256": it signs with ES256`},
		{pairs()["ES256"].private, "none", `no key signs with "none"`},
	} {
		if _, err := NewSigner(c.file, c.algorithm); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.algorithm, err, c.want)
		}
	}
	if _, _, err := Generate("none"); err == nil {
		t.Error("a key for none")
	}
}

// A JWK keeps its id when it signs, so that it is found again in its set.
func TestAJWKSignsUnderItsID(t *testing.T) {
	file := jwks(t, map[string]pair{"s1": pairs()["HS256"]})
	s, err := NewSigner(file, "")
	if err != nil {
		t.Fatal(err)
	}
	token, err := s.Sign(map[string]any{}, "")
	if err != nil {
		t.Fatal(err)
	}
	if v, _ := newRules(Default()).check(token, set(t, file), anyTime); v.outcome != accepted {
		t.Error(v.err())
	}
}

func TestInspectRefuses(t *testing.T) {
	for _, c := range []struct{ token, want string }{
		{"", "this has 1"},
		{"a.b.c.d.e", "this has 5"},
		{"!.e30.", "its header: illegal base64"},
		{unsigned(`{"alg":"none"}`, `[]`), "its claims: json: cannot unmarshal array"},
		{unsigned(`null`, `{}`), "its header: is no JSON object"},
	} {
		if _, err := Inspect(c.token); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want %q", c.token, err, c.want)
		}
	}
}

func TestEveryProblemOfAConfigIsReported(t *testing.T) {
	if err := Default().Validate(); err != nil {
		t.Error(err)
	}
	c := Config{Keys: []string{""}, JWKS: "ftp://x", Audience: []string{""}, Leeway: -1}
	err := c.Validate()
	if err == nil {
		t.Fatal("no error")
	}
	for _, name := range []string{"token-keys", "token-jwks", "token-jwks-refresh", "token-audience", "token-leeway", "token-max-bytes"} {
		if !strings.Contains("\n"+err.Error(), "\n"+name+":") {
			t.Errorf("%s is missing in\n%v", name, err)
		}
	}
}
