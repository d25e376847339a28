//go:build e2e

package e2e

import (
	"testing"

	"github.com/skein-mesh/skein/tests/wsclient"
)

// dial opens a WebSocket to an edge that ends with the test.
func dial(t *testing.T, address string) *wsclient.Conn {
	t.Helper()
	w, err := wsclient.Open(t.Context(), address)
	if err != nil {
		t.Fatalf("connect to %s: %v", address, err)
	}
	t.Cleanup(func() { _ = w.Close() })
	return w
}
