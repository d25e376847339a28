package httpapi

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// screen refuses what no backend sends, and reads the bodies of the others, so
// that what is too large or too slow never becomes a call.
func screen(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		if fromPage(r) {
			fail(w, status.Error(codes.PermissionDenied, "this port is for backends, not for pages of a browser"))
			return
		}
		body, err := readBody(w, r)
		if err != nil {
			fail(w, err)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		next.ServeHTTP(indifferent{w}, r)
	})
}

// indifferent is a writer to somebody who may have gone, of which the gateway
// would make a line of log. The context of the request ends then, and with it
// the call.
type indifferent struct{ http.ResponseWriter }

// Write implements [http.ResponseWriter].
func (w indifferent) Write(text []byte) (int, error) {
	_, _ = w.ResponseWriter.Write(text)
	return len(text), nil
}

// FlushError is what [http.ResponseController] calls.
func (w indifferent) FlushError() error {
	_ = http.NewResponseController(w.ResponseWriter).Flush()
	return nil
}

// fromPage reports whether a page of a browser asks. A page anywhere could
// otherwise publish to a router on the machine of whoever looks at it. An
// address that somebody typed is no page.
func fromPage(r *http.Request) bool {
	site := r.Header.Get("Sec-Fetch-Site")
	return r.Header.Get("Origin") != "" || site != "" && site != "none"
}

func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if r.ContentLength == 0 {
		return nil, nil
	}
	control := http.NewResponseController(w)
	// Writers of tests know no deadlines.
	_ = control.SetReadDeadline(time.Now().Add(bodyTime))
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxBody))
	_ = control.SetReadDeadline(time.Time{})
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, httpError{http.StatusRequestEntityTooLarge, status.Errorf(codes.ResourceExhausted, "the body has more than %d bytes", MaxBody)}
	case err != nil:
		return nil, status.Errorf(codes.InvalidArgument, "the body did not arrive: %v", err)
	}
	return body, nil
}
