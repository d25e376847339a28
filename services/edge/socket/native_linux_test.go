package socket

import (
	"testing"
	"unsafe"
)

// An idle socket is this and one word in a table. 288 bytes are a size class of
// the runtime; one byte more costs 32.
func TestIdleConnFitsItsSizeClass(t *testing.T) {
	if size := unsafe.Sizeof(nativeConn{}); size > 288 {
		t.Errorf("a connection has %d bytes", size)
	}
}
