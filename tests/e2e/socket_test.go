//go:build e2e

package e2e

import (
	"crypto/tls"
	"testing"

	"github.com/skein-mesh/skein/tests/wsclient"
)

// dial opens a WebSocket, with TLS if the edge has it, that ends with the test.
func (e *edge) dial(t *testing.T) *wsclient.Conn {
	t.Helper()
	if e.tls == nil {
		return dial(t, e.listen)
	}
	conn, err := (&tls.Dialer{Config: e.tls}).DialContext(t.Context(), "tcp", e.listen)
	if err != nil {
		t.Fatalf("connect to %s: %v", e.listen, err)
	}
	w, answer, err := wsclient.UpgradeOver(conn, e.listen, wsclient.Path, nil)
	if err != nil || w == nil {
		t.Fatalf("upgrade at %s: status %d, %v", e.listen, answer.Status, err)
	}
	t.Cleanup(func() { _ = w.Close() })
	return w
}

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
