package longpoll

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skein-mesh/skein/pkg/phx"
	"github.com/skein-mesh/skein/pkg/wsframe"
	"github.com/skein-mesh/skein/services/edge/handshake"
)

// The bodies are those that Phoenix sends, key for key.
func TestJoinPollPushPoll(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, e *edge) {
		first := e.do(t.Context(), http.MethodGet, "vsn=2.0.0", "")
		token := first.Token
		first.want(t, 0, `{"messages":[],"status":410,"token":"`+token+`"}`)
		e.post(token, `["1","1","room:hello","phx_join",{"a":"<&>"}]`).want(t, 0, `{"status":200}`)
		e.get(token).want(t, 0, `{"messages":["[\"1\",\"1\",\"room:hello\",\"phx_join\",{\"a\":\"<&>\"}]"],"status":200,"token":"`+token+`"}`)
		e.post(token, `["1","2","r","e",{}]`, `["1","3","r","e",{}]`).want(t, 0, `{"status":200}`)
		e.get(token).want(t, 0, `{"messages":["[\"1\",\"2\",\"r\",\"e\",{}]","[\"1\",\"3\",\"r\",\"e\",{}]"],"status":200,"token":"`+token+`"}`)
		e.get(token).want(t, 10*time.Second, `{"messages":[],"status":204,"token":"`+token+`"}`)
	})
}

func TestOneMessageIsTheWholeBody(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, e *edge) {
		token, c := e.open()
		body := "[\"1\",\"1\",\"room:lobby\",\n\"phx_join\",{}]"
		for _, kind := range []string{"Content-Type: application/json", "Content-Type: ", "Content-Type: text/plain"} {
			e.do(t.Context(), http.MethodPost, "vsn=2.0.0&token="+token, body, kind).want(t, 0, `{"status":200}`)
		}
		if got := c.received(); len(got) != 3 || got[0] != body {
			t.Errorf("got %q", got)
		}
	})
}

func TestAMessageArrivesDuringAPoll(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, e *edge) {
		token, c := e.open()
		time.AfterFunc(400*time.Millisecond, func() { c.send(`[null,null,"r","e",{}]`) })
		e.get(token).want(t, 400*time.Millisecond, `{"messages":["[null,null,\"r\",\"e\",{}]"],"status":200,"token":"`+token+`"}`)
	})
}

func TestTheTokenMayStandInAHeader(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, e *edge) {
		token, c := e.open()
		for _, query := range []string{"vsn=2.0.0", "vsn=2.0.0&token=bogus", "token=of-the-app&vsn=2.0.0&token=" + token} {
			c.send("[]")
			a := e.do(t.Context(), http.MethodGet, query, "", "X-Phoenix-Longpoll-Token: "+token)
			if a.Status != http.StatusOK {
				t.Errorf("%s: %s", query, a.Body)
			}
		}
		c.send("[]")
		if a := e.do(t.Context(), http.MethodGet, "token=of-the-app&vsn=2.0.0&token="+token, ""); a.Status != http.StatusOK {
			t.Errorf("behind the app's own parameter: %s", a.Body)
		}
	})
}

func TestPoisonEndsTheSession(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, e *edge) {
		token, c := e.open()
		e.post(token, `["1","1","r","e",{}]`, "no message!", `["1","2","r","e",{}]`).want(t, 0, `{"status":410}`)
		if got := c.received(); len(got) != 2 {
			t.Errorf("got %q", got)
		}
		e.post(token, "[]").want(t, 0, `{"status":410}`)
		if a := e.get(token); a.Status != http.StatusOK || len(a.Messages) != 1 {
			t.Errorf("what was answered before is lost: %s", a.Body)
		}
		a := e.get(token)
		a.want(t, 0, `{"messages":[],"status":410,"token":"`+a.Token+`"}`)
		if a.Token == token {
			t.Error("the token is that of the session that ended")
		}
	})
}

func TestRefusals(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, e *edge) {
		for _, vsn := range []string{"9.9.9", "123.1.1", "2.1.0", "2", "", "2.0.01", "2.0.x"} {
			e.do(t.Context(), http.MethodGet, "vsn="+vsn, "").want(t, 0, `{"status":403}`)
		}
		for _, s := range []int{http.StatusForbidden, http.StatusTooManyRequests, http.StatusUnauthorized} {
			e.refusal = handshake.Refusal{Status: s, After: time.Second}
			e.do(t.Context(), http.MethodGet, "vsn=2.0.0", "").want(t, time.Second, `{"status":403}`)
		}
		e.refusal = handshake.Refusal{Status: http.StatusServiceUnavailable}
		if a := e.do(t.Context(), http.MethodGet, "vsn=2.0.0", ""); a.Code != http.StatusServiceUnavailable || a.Body.Len() != 0 {
			t.Errorf("HTTP %d %s", a.Code, a.Body)
		}
		if a := e.do(t.Context(), http.MethodPost, "vsn=2.0.0", "[]"); a.Body.String() != `{"status":410}` {
			t.Errorf("a POST without session: %s", a.Body)
		}
		for _, method := range []string{http.MethodPut, http.MethodHead, http.MethodDelete} {
			if a := e.do(t.Context(), method, "vsn=2.0.0", ""); a.Code != http.StatusBadRequest || a.Body.Len() != 0 {
				t.Errorf("%s: HTTP %d %s", method, a.Code, a.Body)
			}
		}
	})
}

func TestASessionEndsAfterOneAndAHalfWindows(t *testing.T) {
	inBubble(t, func(o *Options) { o.Limits.Window = time.Second }, func(t *testing.T, e *edge) {
		token, c := e.open()
		c.send("[]")
		time.Sleep(1400 * time.Millisecond) // virtual time
		if a := e.get(token); a.Status != http.StatusOK {
			t.Errorf("too early: %s", a.Body)
		}
		c.send("[]")
		time.Sleep(2 * time.Second) // virtual time
		synctest.Wait()
		if c.closed() != 1 || e.Count() != 0 {
			t.Errorf("closed %d times, %d sessions", c.closed(), e.Count())
		}
		e.post(token, "[]").want(t, 0, `{"status":410}`)
		if got := e.count.dropped[dropNotPolled].Load(); got != 1 {
			t.Errorf("%d drops", got)
		}
	})
}

func TestAPollKeepsASessionAndAPostDoesNot(t *testing.T) {
	inBubble(t, func(o *Options) { o.Limits.Window = time.Second }, func(t *testing.T, e *edge) {
		token, _ := e.open()
		for range 5 {
			e.get(token).want(t, time.Second, `{"messages":[],"status":204,"token":"`+token+`"}`)
		}
		for range 4 {
			time.Sleep(500 * time.Millisecond) // virtual time
			e.post(token)
		}
		e.post(token).want(t, 0, `{"status":410}`)
	})
}

// Phoenix handles a hundred and says nothing of the rest.
func TestLargeBatchesAreHandledWholeOrNotAtAll(t *testing.T) {
	inBubble(t, func(o *Options) { o.Limits.OutboxBytes = 1 << 20 }, func(t *testing.T, e *edge) {
		token, c := e.open()
		lines := make([]string, 101)
		for i := range lines {
			lines[i] = fmt.Sprintf(`["1","%d","r","e",{}]`, i)
		}
		e.post(token, lines...).want(t, 0, `{"status":200}`)
		if a := e.get(token); len(a.Messages) != 101 || a.Messages[100] != lines[100] {
			t.Errorf("%d messages", len(a.Messages))
		}
		e.post(token, strings.Split(strings.Repeat("[]\n", maxBatch+1), "\n")...).want(t, 0, `{"status":413}`)
		e.post(token, "["+strings.Repeat(" ", 1<<20)+"]").want(t, 0, `{"status":413}`)
		if got := len(c.received()); got != 101 {
			t.Errorf("%d messages were handled", got)
		}
	})
}

func TestADisconnectEndsAPollAtOnce(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, e *edge) {
		token, c := e.open()
		time.AfterFunc(time.Second, func() { c.conn.Close(wsframe.CodeGoingAway, "") })
		a := e.get(token)
		a.want(t, time.Second, `{"messages":[],"status":410,"token":"`+a.Token+`"}`)
		synctest.Wait()
		if c.closed() != 1 || a.Token == token {
			t.Errorf("closed %d times, token %s", c.closed(), a.Token)
		}
	})
}

func TestWhatAClientAsks(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, e *edge) {
		token, _ := e.open()
		time.Sleep(time.Minute) // virtual time: it ends
		a := e.do(t.Context(), http.MethodGet, "user_id=7&token=app&token="+token, "",
			"Origin: http://a.test", "X-Phoenix-AuthToken: secret", "X-Application: one", "X-Application: two")
		if a.Status != http.StatusGone {
			t.Fatal(a.Body)
		}
		r := e.requests[len(e.requests)-1]
		if r.Connection != 2 || r.Transport != handshake.LongPoll || r.Version != phx.V1 || !r.HasOrigin ||
			r.Origin != "http://a.test" || r.AuthToken != "secret" || len(r.Header.Values("X-Application")) != 2 {
			t.Errorf("got %+v", r)
		}
		if got := r.Params.Encode(); got != "token=app&user_id=7" {
			t.Errorf("params %s", got)
		}
		if got := r.URL.String(); got != "http://app.test/socket/longpoll?user_id=7&token=app&token="+token {
			t.Errorf("URL %s", got)
		}
		if r.Remote.String() != "192.0.2.1:1234" {
			t.Errorf("remote %s", r.Remote)
		}
	})
}

func TestHeaders(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, e *edge) {
		a := e.do(t.Context(), http.MethodOptions, "vsn=2.0.0", "", "Access-Control-Request-Headers: content-type,x-phoenix-authtoken")
		for name, want := range map[string]string{
			"Access-Control-Allow-Origin": "*", "Access-Control-Allow-Headers": "content-type,x-phoenix-authtoken",
			"Access-Control-Allow-Methods": "get, post, options", "Access-Control-Max-Age": "3600",
		} {
			if got := a.Header().Get(name); a.Code != http.StatusOK || got != want {
				t.Errorf("%s: %q, want %q", name, got, want)
			}
		}
		a = e.do(t.Context(), http.MethodGet, "vsn=2.0.0", "")
		if h := a.Header(); h.Get("Cache-Control") != "no-store" || h.Get("Access-Control-Allow-Origin") != "*" ||
			h.Get("Content-Type") != "application/json; charset=utf-8" || h.Get("Connection") != "" {
			t.Errorf("headers %v", h)
		}
	})
}

func TestATokenIsGoodForItsMountOnly(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, e *edge) {
		token, c := e.open()
		c.send("[]")
		key, err := parseToken(token)
		if err != nil {
			t.Fatal(err)
		}
		for _, publish := range []bool{true, false} {
			req := pollRequest("e1", key.secret.String(), publish)
			req.Mount = "/admin"
			if got := e.Poll(context.Background(), req); got.GetStatus() != http.StatusGone {
				t.Errorf("got %v", got)
			}
		}
		if a := e.get(token); a.Status != http.StatusOK {
			t.Errorf("got %s", a.Body)
		}
	})
}
