package wsframe_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/skein-mesh/skein/pkg/wsframe"
)

var key = [4]byte{0x12, 0x34, 0xab, 0xcd}

var wide = wsframe.Limits{Frame: 1 << 20, Message: 1 << 20}

func frame(op wsframe.Opcode, final bool, payload string) []byte {
	return wsframe.AppendClient(nil, op, final, key, []byte(payload))
}

// decode feeds the stream in pieces of at most step bytes and returns what came
// out in a readable form.
func decode(stream []byte, limits wsframe.Limits, step int) (out []string, err error) {
	return decodeWith(nil, stream, limits, step)
}

// decodeWith is decode for a connection that negotiated compression, if there
// is an inflater.
func decodeWith(z *wsframe.Inflater, stream []byte, limits wsframe.Limits, step int) (out []string, err error) {
	var d wsframe.Decoder
	for len(stream) > 0 {
		n := min(step, len(stream))
		data := bytes.Clone(stream[:n])
		stream = stream[n:]
		for {
			m, rest, ok, err := d.Next(data, limits, z)
			if err != nil {
				return out, err
			}
			if !ok {
				break
			}
			out = append(out, fmt.Sprintf("%d %s", m.Op, m.Payload))
			data = rest
		}
	}
	return out, nil
}

func TestDecode(t *testing.T) {
	big := strings.Repeat("x", 70000)
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	tests := []struct {
		name   string
		stream []byte
		want   []string
		code   wsframe.Code
	}{
		{"empty text", frame(wsframe.Text, true, ""), []string{"1 "}, 0},
		{"short", frame(wsframe.Text, true, "hi"), []string{"1 hi"}, 0},
		{"16 bit length", frame(wsframe.Binary, true, big[:300]), []string{"2 " + big[:300]}, 0},
		{"64 bit length", frame(wsframe.Binary, true, big), []string{"2 " + big}, 0},
		{
			"fragments around a ping",
			join(frame(wsframe.Text, false, "ab"), frame(wsframe.Ping, true, "mid"), frame(0, false, "c"), frame(0, true, "d")),
			[]string{"0 ", "9 mid", "0 ", "1 abcd"}, 0,
		},
		{
			"two fragmented messages",
			join(frame(wsframe.Text, false, "a"), frame(0, true, "b"), frame(wsframe.Binary, false, ""), frame(0, true, "c")),
			[]string{"0 ", "1 ab", "0 ", "2 c"}, 0,
		},
		{"rune split over fragments", join(frame(wsframe.Text, false, "\xc3"), frame(0, true, "\xa4")), []string{"0 ", "1 ä"}, 0},
		{"pong", frame(wsframe.Pong, true, "hi"), []string{"10 hi"}, 0},
		{"close", frame(wsframe.Close, true, "\x03\xe8"), []string{"8 \x03\xe8"}, 0},
		{"reserved bit", []byte{0xc1, 0x80}, nil, wsframe.CodeProtocol},
		{"not masked", []byte{0x81, 0x02}, nil, wsframe.CodeProtocol},
		{"reserved opcode", frame(3, true, "x"), nil, wsframe.CodeProtocol},
		{"reserved control opcode", frame(0xb, true, "x"), nil, wsframe.CodeProtocol},
		{"continuation of nothing", frame(0, true, "x"), nil, wsframe.CodeProtocol},
		{"message in message", join(frame(1, false, "a"), frame(1, true, "b")), []string{"0 "}, wsframe.CodeProtocol},
		{"ping over 125", frame(wsframe.Ping, true, big[:126]), nil, wsframe.CodeProtocol},
		{"fragmented ping", frame(wsframe.Ping, false, "x"), nil, wsframe.CodeProtocol},
		{"highest length bit", []byte{0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4}, nil, wsframe.CodeProtocol},
		{"huge length", []byte{0x82, 0xff, 0x7f, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4}, nil, wsframe.CodeTooBig},
		{"bad UTF-8", frame(wsframe.Text, true, "a\xff"), nil, wsframe.CodeBadPayload},
		{"half a rune", frame(wsframe.Text, true, "\xc3"), nil, wsframe.CodeBadPayload},
	}
	for _, tt := range tests {
		for _, step := range []int{1, 2, 7, 1 << 20} {
			t.Run(fmt.Sprintf("%s/%d", tt.name, step), func(t *testing.T) {
				got, err := decode(tt.stream, wide, step)
				if fmt.Sprint(got) != fmt.Sprint(tt.want) {
					t.Errorf("got %.100q, want %.100q", got, tt.want)
				}
				if code := codeOf(err); code != tt.code {
					t.Errorf("error %v, want code %d", err, tt.code)
				}
			})
		}
	}
}

func codeOf(err error) wsframe.Code {
	if e, ok := errors.AsType[*wsframe.Error](err); ok {
		return e.Code
	}
	return 0
}

func TestLimits(t *testing.T) {
	limits := wsframe.Limits{Frame: 1024, Message: 1500}
	if got := limits.MaxPayload(); got != 1016 {
		t.Errorf("payload under a frame limit of 1024 is %d, want 1016", got)
	}
	for _, tt := range []struct {
		name  string
		parts []int
		code  wsframe.Code
	}{
		{"largest frame", []int{1016}, 0},
		{"one more", []int{1017}, wsframe.CodeTooBig},
		{"fragments over the frame limit", []int{839, 661}, 0},
		{"fragments over the message limit", []int{839, 662}, wsframe.CodeTooBig},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var stream []byte
			for i, n := range tt.parts {
				op := wsframe.Text
				if i > 0 {
					op = wsframe.Continuation
				}
				stream = append(stream, frame(op, i == len(tt.parts)-1, strings.Repeat("x", n))...)
			}
			if _, err := decode(stream, limits, 100); codeOf(err) != tt.code {
				t.Errorf("got %v, want code %d", err, tt.code)
			}
		})
	}
}

// MaxPayload agrees with the decoder for every limit.
func TestMaxPayloadIsExact(t *testing.T) {
	limits := []int{70000, 0xffff + 14, 0xffff + 13, 0xffff + 9, 0xffff + 8, 0xffff + 7}
	for l := range 300 {
		limits = append(limits, l+6)
	}
	for _, l := range limits {
		lim := wsframe.Limits{Frame: l, Message: 1 << 20}
		n := lim.MaxPayload()
		if _, err := decode(frame(wsframe.Binary, true, strings.Repeat("x", n)), lim, 1<<20); err != nil {
			t.Fatalf("limit %d: payload of %d refused: %v", l, n, err)
		}
		if _, err := decode(frame(wsframe.Binary, true, strings.Repeat("x", n+1)), lim, 1<<20); err == nil {
			t.Fatalf("limit %d: payload of %d accepted", l, n+1)
		}
	}
}

// A header that promises much must not reserve much.
func TestPromisedLengthIsNotAllocated(t *testing.T) {
	limits := wsframe.Limits{Frame: 64 << 20, Message: 64 << 20}
	head := wsframe.AppendClient(nil, wsframe.Binary, true, key, make([]byte, 60<<20))[:20]
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	const times = 100
	for range times {
		var d wsframe.Decoder
		if _, _, ok, err := d.Next(head, limits, nil); ok || err != nil {
			t.Fatal(ok, err)
		}
	}
	runtime.ReadMemStats(&after)
	allocated := (after.TotalAlloc - before.TotalAlloc) / times
	if allocated > 16<<10 { // the runtime allocates a little meanwhile
		t.Errorf("a header of 20 bytes allocated %d", allocated)
	}
}

func TestParseClose(t *testing.T) {
	for code := range 1 << 16 {
		payload := []byte{byte(code >> 8), byte(code)}
		_, _, err := wsframe.ParseClose(payload)
		ok := code >= 1000 && code <= 1011 && code != 1004 && code != 1005 && code != 1006 || code >= 3000 && code <= 4999
		if (err == nil) != ok {
			t.Fatalf("code %d: %v", code, err)
		}
	}
	if code, _, err := wsframe.ParseClose(nil); code != wsframe.CodeNoStatus || err != nil {
		t.Errorf("no payload: %d, %v", code, err)
	}
	if _, _, err := wsframe.ParseClose([]byte{3}); codeOf(err) != wsframe.CodeProtocol {
		t.Errorf("one byte: %v", err)
	}
	if _, _, err := wsframe.ParseClose([]byte("\x03\xe8\xff")); codeOf(err) != wsframe.CodeProtocol {
		t.Errorf("bad reason: %v", err)
	}
}

func TestNewClose(t *testing.T) {
	f := wsframe.NewClose(wsframe.CodeRestart, strings.Repeat("ä", 100))
	code := uint16(f.Payload()[0])<<8 | uint16(f.Payload()[1])
	if code != 1012 || len(f.Payload()) != 2+122 || f.Op() != wsframe.Close {
		t.Errorf("got % x", f.Wire())
	}
	if f := wsframe.NewClose(wsframe.CodeNoStatus, "x"); len(f.Payload()) != 0 {
		t.Errorf("got % x", f.Wire())
	}
}

func TestFrame(t *testing.T) {
	for _, n := range []int{0, 1, 125, 126, 0xffff, 0x10000} {
		payload := bytes.Repeat([]byte{'x'}, n)
		f := wsframe.New(wsframe.Binary, payload)
		if f.Op() != wsframe.Binary || !bytes.Equal(f.Payload(), payload) || f.Len() != len(f.Wire()) {
			t.Errorf("payload of %d: %d bytes, op %d", n, f.Len(), f.Op())
		}
	}
}

// However a stream is cut, the same messages come out.
func TestAnyCutGivesTheSame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var stream []byte
		for range rapid.IntRange(1, 6).Draw(t, "messages") {
			parts := rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 0, 300), 1, 4).Draw(t, "parts")
			for i, p := range parts {
				op := wsframe.Binary
				if i > 0 {
					op = wsframe.Continuation
				}
				stream = wsframe.AppendClient(stream, op, i == len(parts)-1, [4]byte(rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "key")), p)
			}
		}
		want, err := decode(stream, wide, len(stream))
		if err != nil {
			t.Fatal(err)
		}
		got, err := decode(stream, wide, rapid.IntRange(1, len(stream)).Draw(t, "step"))
		if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("got %q, %v; want %q", got, err, want)
		}
	})
}

func FuzzDecode(f *testing.F) {
	f.Add(frame(wsframe.Text, true, `[null,"1","phoenix","heartbeat",{}]`), uint8(3))
	f.Add(append(frame(wsframe.Text, false, "a"), frame(wsframe.Continuation, true, "b")...), uint8(1))
	f.Add(append(frame(wsframe.Ping, true, "p"), frame(wsframe.Close, true, "\x03\xe9gone")...), uint8(9))
	f.Add([]byte{0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 1, 2, 3, 4, 5}, uint8(2))
	f.Add([]byte{0xc1, 0x80}, uint8(1))
	f.Add(frame(deflatedText, true, "\xf2\x48\xcd\xc9\xc9\x07\x00"), uint8(4))
	f.Add(append(frame(deflatedText, false, "\xf2\x48\xcd"), frame(0, true, "\xc9\xc9\x07\x00")...), uint8(1))
	f.Add(frame(deflatedText, true, deflate(strings.Repeat("x", 9000))), uint8(200))
	limits := wsframe.Limits{Frame: 4096, Message: 8192}
	f.Fuzz(func(t *testing.T, stream []byte, step uint8) {
		for _, z := range []*wsframe.Inflater{nil, new(wsframe.Inflater)} {
			whole, wholeErr := decodeWith(z, stream, limits, len(stream)+1)
			cut, cutErr := decodeWith(z, stream, limits, int(step)+1)
			if fmt.Sprint(whole) != fmt.Sprint(cut) || codeOf(wholeErr) != codeOf(cutErr) {
				t.Fatalf("whole %q (%v), cut %q (%v)", whole, wholeErr, cut, cutErr)
			}
			for _, m := range whole {
				if len(m) > limits.Message+len("10 ") {
					t.Fatalf("a message of %d bytes", len(m))
				}
			}
		}
	})
}

func FuzzParseClose(f *testing.F) {
	f.Add([]byte("\x03\xe8bye"))
	f.Add([]byte("\x03"))
	f.Fuzz(func(t *testing.T, payload []byte) {
		code, reason, err := wsframe.ParseClose(payload)
		if err != nil || code == wsframe.CodeNoStatus || len(payload) > wsframe.MaxControl {
			return
		}
		if !bytes.Equal(wsframe.NewClose(code, reason).Payload(), payload) {
			t.Fatalf("%q does not survive", payload)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	for _, size := range []int{64, 200, 4096} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			payload := make([]byte, size)
			for i := range payload {
				payload[i] = byte('a' + rand.IntN(26))
			}
			stream := frame(wsframe.Text, true, string(payload))
			b.SetBytes(int64(size))
			b.ReportAllocs()
			var d wsframe.Decoder
			work := make([]byte, len(stream))
			for b.Loop() {
				copy(work, stream)
				if _, _, ok, err := d.Next(work, wide, nil); !ok || err != nil {
					b.Fatal(ok, err)
				}
			}
		})
	}
}
