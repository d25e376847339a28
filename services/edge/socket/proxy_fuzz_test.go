package socket

import (
	"bytes"
	"io"
	"testing"
	"testing/iotest"

	"github.com/pires/go-proxyproto"
)

// FuzzProxyHeader: a header is read alike in one piece and byte by byte, no
// byte is lost, and nothing is read far beyond the bounds.
func FuzzProxyHeader(f *testing.F) {
	f.Add([]byte("PROXY TCP4 192.0.2.7 192.0.2.1 4711 443\r\nGET / HTTP/1.1\r\n"))
	f.Add([]byte("PROXY UNKNOWN\r\nGET"))
	f.Add([]byte("\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x07\xc0\x00\x02\x01\x12\x67\x01\xbbGET"))
	f.Add([]byte("\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"))
	f.Add([]byte("\r\n\r\n\x00\r\nQUIT\n\x21\x31\xff\xff"))
	f.Add([]byte("GET / HTTP/1.1\r\n"))
	f.Fuzz(func(t *testing.T, sent []byte) {
		read := func(r io.Reader) (h *proxyproto.Header, all []byte, err error) {
			h, behind, err := readProxyHeader(r)
			rest, _ := io.ReadAll(r)
			return h, append(behind, rest...), err
		}
		whole := bytes.NewReader(sent)
		h, rest, err := read(whole)
		h1, rest1, err1 := read(iotest.OneByteReader(bytes.NewReader(sent)))
		if (err == nil) != (err1 == nil) {
			t.Fatalf("in one piece: %v; byte by byte: %v", err, err1)
		}
		if err != nil {
			return
		}
		if !h.EqualsTo(h1) || !bytes.Equal(rest, rest1) || !bytes.HasSuffix(sent, rest) {
			t.Fatalf("in one piece: %v and %q; byte by byte: %v and %q", h, rest, h1, rest1)
		}
		if size := len(sent) - len(rest); size > maxProxyHeader {
			t.Fatalf("a header of %d bytes", size)
		}
	})
}
