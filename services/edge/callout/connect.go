package callout

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	handlerv1 "github.com/skein-mesh/skein/proto/gen/skein/handler/v1"
	"github.com/skein-mesh/skein/services/edge/handshake"
)

// Parts of a request that handlers may be told, named as Phoenix's connect_info
// names them. Mount, transport and origin are always told.
const (
	PeerData            = "peer_data"
	XHeaders            = "x_headers"
	URI                 = "uri"
	UserAgent           = "user_agent"
	TraceContextHeaders = "trace_context_headers"
	SecWebSocketHeaders = "sec_websocket_headers"
	AuthToken           = "auth_token"
)

// Parts returns the names of all parts.
func Parts() []string {
	return []string{PeerData, XHeaders, URI, UserAgent, TraceContextHeaders, SecWebSocketHeaders, AuthToken}
}

// ConnectAnswer is what a handler says to a new socket.
type ConnectAnswer struct {
	Refused bool
	Status  int    // of HTTP, for a refusal: 400 to 599
	Reason  string // for a refusal; may be empty
	User    string // empty leaves it to the token
	Assigns []byte // JSON object; nil for none
}

// Connect asks about a new socket. claims are those of its token as JSON text;
// nil for none. The error is one that [session.Backend] names; it comes no later
// than the configured time and no later than ctx ends.
func (c *Callout) Connect(ctx context.Context, r *handshake.Request, claims []byte) (ConnectAnswer, error) {
	req := &handlerv1.ConnectRequest{Socket: c.socket(r.Connection), Params: params(r), Info: c.info(r), Claims: claims}
	resp, err := await(ctx, c, "connect", req, client.Connect)
	if err != nil {
		return ConnectAnswer{}, err
	}
	answer := ConnectAnswer{User: resp.GetUser(), Assigns: some(resp.GetAssigns())}
	if refusal := resp.GetRefusal(); refusal != nil {
		answer.Refused, answer.Status, answer.Reason = true, int(refusal.GetHttpStatus()), refusal.GetReason()
		if answer.Status == 0 {
			answer.Status = http.StatusForbidden
		}
	}
	return answer, nil
}

// CheckOrigin asks whether a page may connect. Its errors are those of
// [Callout.Connect].
func (c *Callout) CheckOrigin(ctx context.Context, r *handshake.Request) (bool, error) {
	req := &handlerv1.CheckOriginRequest{Origin: clean(r.Origin), Info: c.info(r)}
	resp, err := await(ctx, c, "check_origin", req, client.CheckOrigin)
	return resp.GetAllowed(), err
}

// await makes a call about a socket and waits for its answer.
func await[Req, Resp any](ctx context.Context, c *Callout, name string, req *Req, call method[Req, Resp]) (*Resp, error) {
	type result struct {
		resp *Resp
		err  error
	}
	came := make(chan result, 1)
	o := order{method: name, lane: c.connect, ctx: ctx, deadline: time.Now().Add(c.cfg.ConnectTimeout), cost: requestCost}
	send(c, o, req, call, func(resp *Resp, err error) { came <- result{resp, err} })
	select {
	case r := <-came:
		return r.resp, r.err
	case <-ctx.Done():
		return nil, outcomeOf(ctx.Err()).err()
	}
}

// requestCost is about what an HTTP request costs that waits, in bytes. The
// headers of one are bounded where it is read.
const requestCost = 4096

// params are those of the client. Of a name that is given twice the last
// counts, as in Phoenix.
func params(r *handshake.Request) map[string]string {
	all := make(map[string]string, len(r.Params))
	for name, values := range r.Params {
		if len(values) > 0 {
			all[clean(name)] = clean(values[len(values)-1])
		}
	}
	return all
}

// info is what is told of a request.
func (c *Callout) info(r *handshake.Request) *handlerv1.ConnectInfo {
	info := &handlerv1.ConnectInfo{Transport: string(r.Transport), Origin: clean(r.Origin)}
	if r.URL != nil {
		info.Mount = clean(strings.TrimSuffix(strings.TrimSuffix(r.URL.Path, "/"), "/"+string(r.Transport)))
		if c.told[URI] {
			info.Uri = clean(r.URL.String())
		}
	}
	if c.told[PeerData] && r.Remote.IsValid() {
		info.PeerAddress, info.PeerPort = r.Remote.Addr().Unmap().String(), uint32(r.Remote.Port())
	}
	if c.told[UserAgent] {
		info.UserAgent = clean(r.Header.Get("User-Agent"))
	}
	if c.told[AuthToken] {
		info.AuthToken = clean(r.AuthToken)
	}
	for _, h := range []struct {
		part string
		to   *[]*handlerv1.Header
		is   func(name string) bool
	}{
		{XHeaders, &info.XHeaders, func(name string) bool { return strings.HasPrefix(name, "x-") }},
		{TraceContextHeaders, &info.TraceContextHeaders, func(name string) bool { return name == "traceparent" || name == "tracestate" }},
		{SecWebSocketHeaders, &info.SecWebsocketHeaders, func(name string) bool { return strings.HasPrefix(name, "sec-websocket-") }},
	} {
		if c.told[h.part] {
			*h.to = headers(r.Header, h.is)
		}
	}
	return info
}

// headers are the lines whose name, in lower case, is meant; sorted by name.
func headers(all http.Header, meant func(name string) bool) []*handlerv1.Header {
	var found []*handlerv1.Header
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if lower := strings.ToLower(name); meant(lower) {
			for _, value := range all[name] {
				found = append(found, &handlerv1.Header{Name: clean(lower), Value: clean(value)})
			}
		}
	}
	return found
}
