//go:build e2e

package docs

import (
	"fmt"
	"strings"

	"github.com/skein-mesh/skein/tests/wsclient"
)

// gettingStarted names blocks of docs/getting-started.md.
func gettingStarted(begins ...string) []ref {
	refs := make([]ref, 0, len(begins))
	for _, begin := range begins {
		refs = append(refs, ref{"docs/getting-started.md", begin})
	}
	return refs
}

// startedFleet reads docs/getting-started.md from its beginning to its end, with
// a browser that opens the reader's own page.
func startedFleet(r *reader) {
	first, second, third := r.open("first"), r.open("second"), r.open("third")
	r.next(first)
	r.next(second)
	r.browse("http://127.0.0.1:8080/#ada")
	r.until(third, "bin/skein people list presence:garden", "ada")
	r.next(third) // with curl
	r.next(third) // with the command line
	third.paste(r.t, `bin/skein publish presence:garden message '{"text": "once more"}'`)
	r.hears("bin/skein tail", "once more")
	if written := r.next(third); !contains(written, "ada") {
		r.t.Errorf("who is online:\n%s", written)
	}
	r.interrupt("bin/skein tail")
	r.interrupt("make dev")

	r.next(first)
	r.until(third, "bin/skein doctor", "Nothing is wrong", "3 routers, 1 presence instance and 2 edges")
	r.until(third, "bin/skein people list presence:garden", "ada") // the page is back by itself
	r.next(third)
	r.drain(third)
	r.next(first)
	r.until(third, "bin/skein members", "2 routers agree")
	r.until(third, "bin/skein people list presence:garden", "ada")
	r.next(first)
	first.paste(r.t, "wait\n")
}

// browse opens a page in a browser that stays open until the test ends.
func (r *reader) browse(url string) {
	r.t.Helper()
	r.process("browser", "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0",
		"--user-data-dir="+r.t.TempDir(), url).Launch(r.t)
}

// drain empties the first edge, whose client must be told 1012, and whose
// clients must come to the second one.
func (r *reader) drain(c *terminal) {
	r.t.Helper()
	leaves, stays := r.clientOf(c, "e1/"), r.clientOf(c, "e2/")
	r.next(c)
	if code, err := leaves.Ending(patience); err != nil || code != 1012 {
		r.t.Errorf("the client of e1 was closed with %d (%v), want 1012", code, err)
	}
	r.until(c, "bin/skein conns --topic presence:garden", "e2/") // the browser
	if err := stays.Text(`[null,"2","phoenix","heartbeat",{}]`); err != nil {
		r.t.Errorf("the client of e2: %v", err)
	}
	if _, _, err := stays.Read(); err != nil {
		r.t.Errorf("the client of e2: %v", err)
	}
	r.next(c)
}

// clientOf connects through HAProxy until an edge is hit, and returns the client
// that is there. The edge is named as in the names of its connections.
func (r *reader) clientOf(c *terminal, edge string) *wsclient.Conn {
	r.t.Helper()
	for i := range 100 {
		conn, err := wsclient.Open(r.t.Context(), "127.0.0.1:4000")
		if err != nil {
			r.t.Fatal(err)
		}
		r.t.Cleanup(func() { _ = conn.Close() })
		topic := fmt.Sprintf("room:%s%d", edge, i)
		if err := conn.Text(fmt.Sprintf(`["1","1",%q,"phx_join",{}]`, topic)); err != nil {
			r.t.Fatal(err)
		}
		if _, _, err := conn.Read(); err != nil {
			r.t.Fatal(err)
		}
		if strings.Contains(c.paste(r.t, "bin/skein conns --topic "+topic+"\n"), edge) {
			return conn
		}
	}
	r.t.Fatalf("no client came to %s", edge)
	return nil
}
