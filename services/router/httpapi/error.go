package httpapi

import (
	"net/http"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
)

// httpError is an error whose HTTP status says more than that of its code.
type httpError struct {
	status int
	error
}

// fail answers a request with a google.rpc.Status in JSON.
func fail(w http.ResponseWriter, err error) {
	code := 0
	if e, ok := err.(httpError); ok { //nolint:errorlint // it is made here and never wrapped
		code, err = e.status, e.error
	}
	s := status.Convert(err)
	if code == 0 {
		code = runtime.HTTPStatusFromCode(s.Code())
	}
	text, err := protojson.Marshal(s.Proto())
	if err != nil { // details of a type that is not linked here
		text, _ = protojson.Marshal(status.New(s.Code(), s.Message()).Proto()) // of two plain fields
	}
	w.Header().Set("Content-Type", jsonType)
	if s.Code() == codes.Unauthenticated {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	w.WriteHeader(code)
	_, _ = w.Write(append(text, '\n')) // whoever asked has gone
}

// misrouted is the error of a request that is no method of the API.
func misrouted(r *http.Request, code int) error {
	err := status.Errorf(codes.NotFound, "there is no %s; /openapi.json says what there is", printable(r.URL.Path))
	switch code {
	case http.StatusMethodNotAllowed:
		err = status.Errorf(codes.Unimplemented, "%s is not for %s; /openapi.json says what is", printable(r.URL.Path), printable(r.Method))
	case http.StatusBadRequest:
		err = status.Error(codes.InvalidArgument, "the path makes no sense")
	}
	return httpError{code, err}
}

// printable shortens what a caller wrote for a message.
func printable(s string) string {
	const most = 64
	if len(s) > most {
		s = s[:most] + "..."
	}
	return s
}
