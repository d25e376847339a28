package bench

import (
	"bytes"
	"errors"
	"testing"

	"pgregory.net/rapid"
)

func TestFramesSurviveTheWire(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		payload := bytes.Repeat([]byte("abcdefg"), rapid.SampledFrom([]int{0, 1, 17, 18, 19, 9362, 9363, 20000}).Draw(t, "sevens"))
		payload = append(payload, rapid.SliceOfN(rapid.Byte(), 0, 9).Draw(t, "rest")...)
		op := rapid.SampledFrom([]byte{opText, opBinary, opPing, opPong, opClose}).Draw(t, "opcode")
		write := rapid.SampledFrom([]func([]byte, byte, []byte) []byte{appendFrame, appendServerFrame}).Draw(t, "side")
		wire := write(nil, op, payload)
		for _, n := range []int{0, 1, 2, len(wire) / 2, len(wire) - 1} {
			if _, size, err := next(bytes.Clone(wire[:n])); n < len(wire) && size != 0 || err != nil {
				t.Fatalf("%d of %d bytes: size %d, %v", n, len(wire), size, err)
			}
		}
		f, size, err := next(append(wire, "more"...))
		if err != nil || size != len(wire) || f.op != op || !bytes.Equal(f.payload, payload) {
			t.Fatalf("got opcode %d, %d bytes, size %d, %v", f.op, len(f.payload), size, err)
		}
	})
}

func TestFramesOfAClientAreMasked(t *testing.T) {
	wire := appendFrame(nil, opText, []byte("hello"))
	if wire[0] != 0x81 || wire[1] != 0x85 || len(wire) != 2+4+5 {
		t.Errorf("got %x", wire)
	}
}

func TestBadFrames(t *testing.T) {
	for name, c := range map[string]struct {
		wire []byte
		want error
	}{
		"continuation":  {[]byte{0x80, 0}, errFragmented},
		"first of some": {[]byte{0x01, 0}, errFragmented},
		"compressed":    {[]byte{0xc1, 0}, errReserved},
		"huge":          {[]byte{0x81, 127, 0, 0, 0, 0, 1, 0, 0, 1}, errHuge},
		"negative":      {[]byte{0x81, 127, 255, 255, 255, 255, 255, 255, 255, 255}, errHuge},
	} {
		if _, _, err := next(c.wire); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
}

func FuzzNext(f *testing.F) {
	f.Add(appendFrame(nil, opText, []byte(`["1","1","t","e",{}]`)))
	f.Add(appendServerFrame(nil, opBinary, make([]byte, 300)))
	f.Add([]byte{0x81, 127, 0, 0, 0, 0, 1, 0, 0, 1})
	f.Add([]byte{0x81, 126, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		f, size, err := next(bytes.Clone(b))
		if size > len(b) || err != nil && size != 0 || len(f.payload) > size {
			t.Errorf("size %d of %d, %v", size, len(b), err)
		}
	})
}
