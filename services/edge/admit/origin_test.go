package admit

import (
	"net/url"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/skein-mesh/skein/services/edge/handshake"
)

// recorded is the list of the mount that the W cases were recorded with.
const recorded = "https://example.com,//other.com:888,//*.wild.org"

func TestOriginsThatMayConnect(t *testing.T) {
	const app, local = "https://app.example.com", "http://127.0.0.1:4000"
	for _, c := range []struct {
		words, from, asked string
		want               bool
	}{
		{"off", "https://evil.test", app, true}, // W161
		{"off", "null", app, true},
		{"off", "", app, true},
		{recorded, "https://example.com", app, true},       // W162
		{recorded, "http://example.com", app, false},       // W163
		{recorded, "https://example.com:8443", app, false}, // W164
		{recorded, "http://other.com:888", app, true},      // W166
		{recorded, "https://other.com", app, false},        // W167
		{recorded, "https://a.wild.org", app, true},
		{recorded, "https://a.b.wild.org:99", app, true}, // W169
		{recorded, "https://wild.org", app, true},        // W170
		{recorded, "https://badwild.org", app, false},
		{recorded, "null", app, false},                // W172
		{recorded, "https://EXAMPLE.com", app, false}, // W173
		{recorded, "", app, false},
		{recorded, "https://example.com:443", app, true},
		{recorded, "HTTPS://example.com", app, true},
		{recorded, "https://example.com.evil.org", app, false},
		{recorded, "https://example.com@evil.org", app, false},
		{recorded, "https://evil.org\\@example.com", app, false},
		{recorded, "https://evil.org#example.com", app, false},
		{recorded, "https://evil.org/.wild.org", app, false},
		{recorded, "https:example.com", app, false},
		{"conn", "http://127.0.0.1:4000", local, true}, // W176
		{"conn", "https://127.0.0.1:4000", local, false},
		{"conn", "http://127.0.0.1:4001", local, false},
		{"conn", "ws://127.0.0.1:4000", local, false},
		{"conn", "http://127.0.0.1", local, false},
		{"conn", "https://app.example.com", app, true},
		{"conn", "https://app.example.com:443", app, true},
		{"conn", "http://app.example.com", app, false},
		{"conn", "https://evil.test", app, false}, // W177
		{"conn", "http://[::1]:4000", "http://[::1]:4000", true},
		{"own", "https://app.example.com", app, true},
		{"own", "http://APP.example.com:5173", "http://app.Example.com:4000", true},
		{"own", "http://[::1]:5173", "http://[::1]:4000", true},
		{"own", "https://evil.example.com", app, false},
		{"own", "https://app.example.com.evil.org", app, false},
		{"own", "https://", "", false},
		{"own", "file://", "", false},
		{"own", "null", app, false},
		{"//a.org,own", "http://a.org", app, true},
		{"//a.org,own", "http://app.example.com", app, true},
		{"//a.org,own", "http://b.org", app, false},
		{"//a.org", "http://sub.a.org", app, false},
		{"//a.org", "//a.org", app, true},
		{"https://a.org", "//a.org", app, false},
		{"//a.org:80", "http://a.org", app, true},
		{"//[::1]:80", "http://[::1]", app, true},
		{"file://", "file://", app, true},
		{"file://", "file:///home/page", app, false},
		{"file://", "null", app, false},
		{"chrome-extension://abcdef", "chrome-extension://abcdef", app, true},
		{"chrome-extension://abcdef", "chrome-extension://abcdeg", app, false},
		{"chrome-extension://abcdef", "https://abcdef", app, false},
		{"capacitor://localhost", "capacitor://localhost", app, true},
	} {
		o, err := parseOrigins(strings.Split(c.words, ","))
		if err != nil {
			t.Errorf("%s: %v", c.words, err)
			continue
		}
		asked, err := url.Parse(c.asked)
		if err != nil {
			t.Fatal(err)
		}
		if got := o.allow(c.from, asked); got != c.want {
			t.Errorf("%s: %q at %q: %v", c.words, c.from, c.asked, got)
		}
		if (o.own || o.conn) && o.allow(c.from, nil) && c.words != "//a.org,own" {
			t.Errorf("%s: %q is the host of no request", c.words, c.from)
		}
	}
}

func TestOriginsThatMakeNoSense(t *testing.T) {
	for _, words := range []string{
		"", "off,own", "own,handler", "example.com", "https://", "null", "*", "//*", "//*.", "//a.*.org", "//**.org", "https://a.org/",
		"https://a.org/path", "https://a.org:", "https://user@a.org", "https://a.org:8o", "//[::1", "//ü.org", "%zz", "1x://a", "x y",
	} {
		var list []string
		if words != "" {
			list = strings.Split(words, ",")
		}
		_, err := parseOrigins(list)
		switch {
		case words == "https://": // a scheme whose pages have no host
			if err != nil {
				t.Errorf("%q: %v", words, err)
			}
		case err == nil:
			t.Errorf("%q was taken", words)
		case !strings.HasPrefix(err.Error(), "check-origin: "):
			t.Errorf("%q: %v", words, err)
		}
	}
	if _, err := parseOrigins([]string{"x", "y"}); err == nil || strings.Count(err.Error(), "\n") != 1 {
		t.Errorf("not every mistake is told: %v", err)
	}
}

func TestWhatIsExpectedReadsLikeTheOption(t *testing.T) {
	o, err := parseOrigins([]string{"own", "conn", "https://a.org", "//*.b.org:81", "//[::1]", "file://"})
	if err != nil {
		t.Fatal(err)
	}
	asked, err := url.Parse("http://app.test:4000/socket")
	if err != nil {
		t.Fatal(err)
	}
	want := "//app.test with any scheme and port, http://app.test:4000, file://, https://a.org, //*.b.org:81, //[::1]"
	if got := o.expected(&handshake.Request{URL: asked}); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// An origin that is in a list may connect, and with a wildcard all below it, but
// nothing else that merely looks like it.
func TestListsMatchWholeNames(t *testing.T) {
	label := rapid.StringMatching(`[a-z]{1,3}`)
	rapid.Check(t, func(t *rapid.T) {
		host := strings.Join(rapid.SliceOfN(label, 1, 3).Draw(t, "host"), ".")
		other := strings.Join(rapid.SliceOfN(label, 1, 4).Draw(t, "other"), ".")
		wild := rapid.Bool().Draw(t, "wild")
		word := "//" + host
		if wild {
			word = "//*." + host
		}
		o, err := parseOrigins([]string{word})
		if err != nil {
			t.Fatal(err)
		}
		want := other == host
		if wild {
			for rest := other; !want && strings.Contains(rest, "."); want = rest == host {
				_, rest, _ = strings.Cut(rest, ".")
			}
		}
		if got := o.allow("https://"+other+":8443", nil); got != want {
			t.Errorf("%s: %s: %v", word, other, got)
		}
	})
}

func FuzzOrigin(f *testing.F) {
	for _, seed := range []string{
		"https://example.com", "//*.example.com:81", "file://", "null", "", "http://[::1]:4000", "https://a@b", "chrome-extension://abcdef", "own", "off",
	} {
		f.Add(seed, seed)
	}
	asked := &url.URL{Scheme: "https", Host: "app.test"}
	f.Fuzz(func(t *testing.T, word, from string) {
		o, err := parseOrigins([]string{word})
		if err != nil || o.all || o.ask {
			return
		}
		if o.allow(from, asked) && (from == "" || from == "null") {
			t.Errorf("%q lets %q in", word, from)
		}
		for _, p := range o.patterns { // what is shown can be given
			if again, err := parseOrigins([]string{p.String()}); err != nil || len(again.patterns) != 1 || again.patterns[0] != p {
				t.Errorf("%q is shown as %q: %v", word, p, err)
			}
		}
	})
}
