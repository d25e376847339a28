package wsframe

import (
	"bytes"
	"sync"

	"github.com/klauspost/compress/flate"
)

// DeflateMin is the size in bytes below which a payload is not worth to be
// compressed.
const DeflateMin = 64

var deflaters = sync.Pool{New: func() any { //nolint:gochecknoglobals // a cache
	w, _ := flate.NewWriter(nil, flate.BestSpeed) // it fails for an unknown level only
	return w
}}

// Deflate returns f compressed by permessage-deflate without context takeover
// (RFC 7692), to be sent to any connection that negotiated it; f itself if that
// is not shorter.
func Deflate(f Frame) Frame {
	var out bytes.Buffer
	w := deflaters.Get().(*flate.Writer) //nolint:forcetypeassert,errcheck // nothing else is in it
	defer deflaters.Put(w)
	w.Reset(&out)
	_, _ = w.Write(f.Payload()) // a buffer takes everything
	_ = w.Flush()
	payload := bytes.TrimSuffix(out.Bytes(), []byte{0, 0, 0xff, 0xff})
	if len(payload) >= len(f.Payload()) {
		return f
	}
	compressed := New(f.Op(), payload)
	compressed.wire[0] |= 0x40 // RSV1
	return compressed
}
