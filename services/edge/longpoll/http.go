package longpoll

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"

	meshv1 "github.com/skein-mesh/skein/proto/gen/skein/mesh/v1"
)

// Headers of phoenix.js.
const (
	tokenHeader = "X-Phoenix-Longpoll-Token"
	authHeader  = "X-Phoenix-Authtoken"
)

// tokenParam is the query parameter of a session's token. A client may have a
// parameter of its own by that name, which stands before ours.
const tokenParam = "token"

// Handler serves <mount>/longpoll. Sessions of one mount are not found under
// another.
func (s *Server) Handler(mount string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Access-Control-Allow-Origin", "*") // Admit checks the origin
		h.Set("Cache-Control", "no-store")
		if s.leaving() {
			h.Set("Connection", "close") // the next request should reach another edge
		}
		q := request{server: s, w: w, r: r, mount: mount}
		switch r.Method {
		case http.MethodGet:
			q.get()
		case http.MethodPost:
			q.post()
		case http.MethodOptions:
			preflight(w, r)
		default:
			q.refuse(http.StatusBadRequest)
		}
	})
}

// leaving reports whether no session may begin.
func (s *Server) leaving() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refusing || s.over
}

// preflight allows what the client asks for, as Phoenix does: the origin is
// checked when a session begins, and its token is nothing that a browser adds.
func preflight(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Access-Control-Allow-Headers", strings.Join(r.Header.Values("Access-Control-Request-Headers"), ", "))
	h.Set("Access-Control-Allow-Methods", "get, post, options")
	h.Set("Access-Control-Max-Age", "3600")
	w.WriteHeader(http.StatusOK)
}

// request is one HTTP request.
type request struct {
	server *Server
	w      http.ResponseWriter
	r      *http.Request
	mount  string
}

// get waits for messages, or opens a session.
func (q request) get() {
	t, found := q.token()
	if !found {
		q.open()
		return
	}
	answer := q.server.ask(q.r.Context(), t, &meshv1.PollRequest{Mount: q.mount})
	if answer.GetStatus() == http.StatusGone {
		q.open()
		return
	}
	q.count(outcomeOf(answer.GetStatus(), false))
	body := pollBody{Messages: []string{}, Status: answer.GetStatus(), Token: t.String()}
	for _, m := range answer.GetMessages() {
		encoded, err := text(m)
		if err != nil {
			q.server.count.dropped[dropBinary].Add(1)
			continue
		}
		body.Messages = append(body.Messages, encoded)
	}
	q.writePoll(body)
}

// post hands the messages of a client to its session.
func (q request) post() {
	t, found := q.token()
	if !found {
		q.published(status(http.StatusGone))
		return
	}
	messages, err := q.messages()
	switch {
	case errors.Is(err, errTooLarge), errors.Is(err, errBatch):
		q.published(status(http.StatusRequestEntityTooLarge))
	case err != nil: // the client is gone, or broke HTTP
		q.refuse(http.StatusBadRequest)
	default:
		q.published(q.server.ask(q.r.Context(), t, &meshv1.PollRequest{Mount: q.mount, Publish: true, Messages: messages}))
	}
}

var errTooLarge = errors.New("longpoll: body too large")

func (q request) messages() ([]*meshv1.PollMessage, error) {
	limit := q.server.opts.Limits.BodyBytes
	body, err := io.ReadAll(io.LimitReader(q.r.Body, int64(limit)+1))
	if err != nil {
		return nil, err
	}
	if len(body) > limit {
		return nil, errTooLarge
	}
	kind, _, _ := mime.ParseMediaType(q.r.Header.Get("Content-Type")) // whatever it is but one
	return parseBody(kind, body)
}

// token is the session's, if the request has one. The header counts first, then
// the last parameter.
func (q request) token() (token, bool) {
	for _, text := range append(q.r.Header.Values(tokenHeader), last(q.r.URL.Query()[tokenParam])...) {
		if t, err := parseToken(text); err == nil {
			return t, true
		}
	}
	return token{}, false
}

func last(values []string) []string { return values[max(len(values)-1, 0):] }

// ask asks the session for an answer, wherever it is.
func (s *Server) ask(ctx context.Context, t token, req *meshv1.PollRequest) *meshv1.PollResponse {
	if t.edge == s.opts.Edge {
		return s.serve(ctx, t.secret, req)
	}
	req.Edge, req.Session = t.edge, t.secret.String()
	return s.forward(ctx, req)
}

// pollBody answers a GET. Phoenix sorts the keys.
type pollBody struct {
	Messages []string `json:"messages"`
	Status   uint32   `json:"status"`
	Token    string   `json:"token"`
}

func (q request) writePoll(body pollBody) {
	var buf bytes.Buffer
	e := json.NewEncoder(&buf)
	e.SetEscapeHTML(false)
	if err := e.Encode(body); err != nil { // strings and a number always encode
		q.w.WriteHeader(http.StatusInternalServerError)
		return
	}
	q.write(bytes.TrimSuffix(buf.Bytes(), []byte("\n")))
}

// writeStatus answers everything else.
func (q request) writeStatus(status uint32) {
	q.write(fmt.Appendf(nil, `{"status":%d}`, status))
}

func (q request) published(answer *meshv1.PollResponse) {
	q.count(outcomeOf(answer.GetStatus(), true))
	q.writeStatus(answer.GetStatus())
}

// refuse answers with a status of HTTP and nothing else.
func (q request) refuse(status int) {
	if status == http.StatusServiceUnavailable {
		q.count(outcomeDraining)
	} else {
		q.count(outcomeRefused)
	}
	q.w.WriteHeader(status)
}

func (q request) count(o outcome) { q.server.count.requests[o].Add(1) }

// write sends a body of JSON. A client that is gone does not get it.
func (q request) write(body []byte) {
	q.w.Header().Set("Content-Type", "application/json; charset=utf-8")
	_, _ = q.w.Write(body)
}
