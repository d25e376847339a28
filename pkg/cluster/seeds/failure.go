package seeds

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os/exec"

	"github.com/skein-mesh/skein/pkg/kube"
)

// reason is why a strategy gave no addresses. The set is closed: it labels a
// metric, and what is logged is logged once for each.
type reason string

const (
	none        reason = ""            // there are addresses
	timeout     reason = "timeout"     // no answer in time
	notFound    reason = "not_found"   // no such name, file or command
	forbidden   reason = "forbidden"   // the file or the API may not be read
	unreachable reason = "unreachable" // the server of DNS or of the API
	failed      reason = "failed"      // the command ended with an error
	malformed   reason = "malformed"   // something else than addresses was said
	empty       reason = "empty"       // nobody was named
	other       reason = "other"
)

// errEmpty is an answer without addresses.
var errEmpty = errors.New("it names nobody")

func classify(err error) reason {
	var (
		lookup  *net.DNSError
		network *net.OpError
		exit    *exec.ExitError
	)
	isLookup := errors.As(err, &lookup)
	switch {
	case err == nil:
		return none
	case errors.Is(err, errEmpty):
		return empty
	case errors.Is(err, errMalformed):
		return malformed
	case errors.Is(err, context.DeadlineExceeded), isLookup && lookup.IsTimeout:
		return timeout
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, exec.ErrNotFound), isLookup && lookup.IsNotFound:
		return notFound
	case errors.Is(err, fs.ErrPermission), kube.Forbidden(err):
		return forbidden
	case errors.As(err, &exit):
		return failed
	case isLookup, errors.As(err, &network):
		return unreachable
	}
	return other
}
