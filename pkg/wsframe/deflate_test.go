package wsframe_test

import (
	"bytes"
	"compress/flate"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/skein-mesh/skein/pkg/wsframe"
)

// Opcodes with the bit that marks a compressed message.
const (
	deflatedText   = wsframe.Text | 0x40
	deflatedBinary = wsframe.Binary | 0x40
)

// deflate compresses as a client does, by the standard library.
func deflate(text string) string {
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, 6)
	_, _ = io.WriteString(w, text)
	_ = w.Flush()
	return strings.TrimSuffix(b.String(), "\x00\x00\xff\xff")
}

// inflate decompresses as a client does, by the standard library.
func inflate(t interface{ Fatal(args ...any) }, payload []byte) string {
	r := flate.NewReader(io.MultiReader(bytes.NewReader(payload), strings.NewReader("\x00\x00\xff\xff\x01\x00\x00\xff\xff")))
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestInflate(t *testing.T) {
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	long := strings.Repeat("[1,2,3]", 20000)
	tests := []struct {
		name   string
		stream []byte
		want   []string
		code   wsframe.Code
	}{
		// The examples of RFC 7692, section 7.2.3.
		{"one block", frame(deflatedText, true, "\xf2\x48\xcd\xc9\xc9\x07\x00"), []string{"1 Hello"}, 0},
		{
			"fragments", join(frame(deflatedText, false, "\xf2\x48\xcd"), frame(0, true, "\xc9\xc9\x07\x00")),
			[]string{"0 ", "1 Hello"}, 0,
		},
		{"stored block", frame(deflatedText, true, "\x00\x05\x00\xfa\xffHello\x00"), []string{"1 Hello"}, 0},
		{"final block", frame(deflatedText, true, "\xf3\x48\xcd\xc9\xc9\x07\x00\x00"), []string{"1 Hello"}, 0},
		{"final block without padding", frame(deflatedText, true, "\xf3\x48\xcd\xc9\xc9\x07\x00"), []string{"1 Hello"}, 0},
		{"two blocks", frame(deflatedText, true, "\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00"), []string{"1 Hello"}, 0},
		{"empty", frame(deflatedText, true, "\x00"), []string{"1 "}, 0},
		{"nothing at all", frame(deflatedText, true, ""), []string{"1 "}, 0},

		{"long", frame(deflatedText, true, deflate(long)), []string{"1 " + long}, 0},
		{"binary", frame(deflatedBinary, true, deflate("\x00\xff")), []string{"2 \x00\xff"}, 0},
		{
			"compressed or not, by message",
			join(frame(deflatedText, true, deflate("a")), frame(wsframe.Text, true, "b"), frame(deflatedText, true, deflate("c"))),
			[]string{"1 a", "1 b", "1 c"}, 0,
		},
		{
			"fragments around a ping", join(frame(deflatedText, false, deflate("ab")[:1]), frame(wsframe.Ping, true, "p"),
				frame(0, false, ""), frame(0, true, deflate("ab")[1:]), frame(wsframe.Text, true, "c")),
			[]string{"0 ", "9 p", "0 ", "1 ab", "1 c"}, 0,
		},
		{"rune over fragments", join(frame(deflatedText, false, deflate("ä")[:2]), frame(0, true, deflate("ä")[2:])), []string{"0 ", "1 ä"}, 0},

		{"second stream behind the final block", frame(deflatedText, true, "\xf3\x48\xcd\xc9\xc9\x07\x00"+deflate("a")), []string{"1 Helloa"}, 0},
		{"bit on a continuation", join(frame(deflatedText, false, "\xf2\x48\xcd"), frame(0x40, true, "\xc9\xc9\x07\x00")), []string{"0 "}, wsframe.CodeProtocol},
		{"bit on a continuation of plain text", join(frame(1, false, "a"), frame(0x40, true, "b")), []string{"0 "}, wsframe.CodeProtocol},
		{"bit on a ping", frame(wsframe.Ping|0x40, true, "p"), nil, wsframe.CodeProtocol},
		{"bit on a close", frame(wsframe.Close|0x40, true, "\x03\xe8"), nil, wsframe.CodeProtocol},
		{"second reserved bit", frame(wsframe.Text|0x20, true, "a"), nil, wsframe.CodeProtocol},
		{"two reserved bits", frame(deflatedText|0x10, true, "a"), nil, wsframe.CodeProtocol},
		{"not deflate", frame(deflatedText, true, "hello, world"), nil, wsframe.CodeBadPayload},
		{"reserved block type", frame(deflatedText, true, "\x06"), nil, wsframe.CodeBadPayload},
		{"truncated", frame(deflatedText, true, deflate(long)[:40]), nil, wsframe.CodeBadPayload},
		{"rubbish behind the final block", frame(deflatedText, true, "\xf3\x48\xcd\xc9\xc9\x07\x00\xff\xff"), nil, wsframe.CodeBadPayload},
		{"distance before the start", frame(deflatedText, true, "\x62\x00\x42\x00\x00"), nil, wsframe.CodeBadPayload},
		{"nothing, in many tables", frame(deflatedText, true, tables(1000)), []string{"1 "}, 0},
		{"inflates to bad UTF-8", frame(deflatedText, true, deflate("a\xff")), nil, wsframe.CodeBadPayload},
	}
	for _, tt := range tests {
		for _, step := range []int{1, 7, 1 << 20} {
			t.Run(fmt.Sprintf("%s/%d", tt.name, step), func(t *testing.T) {
				got, err := decodeWith(new(wsframe.Inflater), tt.stream, wide, step)
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

// The limit of a message is that of its inflated payload, whatever it weighs on
// the wire; that of a frame is on the wire.
func TestInflateLimits(t *testing.T) {
	limits := wsframe.Limits{Frame: 1 << 20, Message: 100_000}
	rubbish := randomBytes(limits.Message)
	halves := func(payload string) []byte {
		half := len(payload) / 2
		return append(frame(deflatedBinary, false, payload[:half]), frame(0, true, payload[half:])...)
	}
	zeros := strings.Repeat("\x00", limits.Message)
	for _, tt := range []struct {
		name   string
		stream []byte
		code   wsframe.Code
	}{
		{"at the limit", frame(deflatedBinary, true, deflate(zeros)), 0},
		{"one more", frame(deflatedBinary, true, deflate(zeros+"x")), wsframe.CodeTooBig},
		{"at the limit, fragmented", halves(deflate(zeros)), 0},
		{"one more, fragmented", halves(deflate(zeros + "x")), wsframe.CodeTooBig},
		{"at the limit, cannot be compressed", frame(deflatedBinary, true, deflate(string(rubbish))), 0},
		{"the same, fragmented", halves(deflate(string(rubbish))), 0},
		{"more than that on the wire", frame(deflatedBinary, true, strings.Repeat("\x00\x00\x00\xff\xff", limits.Message/5+50)), wsframe.CodeTooBig},
		{"frame over its limit", frame(deflatedBinary, true, strings.Repeat("x", 1<<20)), wsframe.CodeTooBig},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := decodeWith(new(wsframe.Inflater), tt.stream, limits, 5000); codeOf(err) != tt.code {
				t.Errorf("got %v, want code %d", err, tt.code)
			}
		})
	}
}

// A bomb costs memory of the order of the limit, however often it comes.
func TestBombIsNotInflated(t *testing.T) {
	bomb := frame(deflatedText, true, deflate(strings.Repeat("x", 64<<20)))
	limits := wsframe.Limits{Frame: 1 << 20, Message: 1 << 20}
	var z wsframe.Inflater
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	const times = 20
	for range times {
		var d wsframe.Decoder
		if _, _, _, err := d.Next(bytes.Clone(bomb), limits, &z); codeOf(err) != wsframe.CodeTooBig {
			t.Fatal(err)
		}
	}
	runtime.ReadMemStats(&after)
	// Buffers grow by a quarter each time, so all of them together are some limits.
	if allocated := (after.TotalAlloc - before.TotalAlloc) / times; allocated > 10<<20 {
		t.Errorf("%d bytes allocated for a limit of %d", allocated, limits.Message)
	}
}

func TestDeflate(t *testing.T) {
	json := []byte(strings.Repeat(`[null,null,"room:lobby","new_msg",{"body":"hello"}]`, 40))
	f := wsframe.New(wsframe.Text, json)
	d := wsframe.Deflate(f)
	if !d.Deflated() || f.Deflated() || d.Op() != wsframe.Text || d.Len() >= f.Len()/4 || d.Len() != len(d.Wire()) {
		t.Errorf("%d bytes became %d", f.Len(), d.Len())
	}
	if got := inflate(t, d.Payload()); got != string(json) {
		t.Errorf("got %.100q", got)
	}
	for name, f := range map[string]wsframe.Frame{
		"short":           wsframe.New(wsframe.Text, []byte("hi")),
		"empty":           wsframe.New(wsframe.Text, nil),
		"compressed":      d,
		"ping":            wsframe.New(wsframe.Ping, json[:100]),
		"close":           wsframe.NewClose(wsframe.CodePolicy, strings.Repeat("x", 100)),
		"random":          wsframe.New(wsframe.Binary, randomBytes(4096)),
		"random and long": wsframe.New(wsframe.Binary, randomBytes(100_000)),
	} {
		if got := wsframe.Deflate(f); &got.Wire()[0] != &f.Wire()[0] {
			t.Errorf("%s: %d bytes became %d", name, f.Len(), got.Len())
		}
	}
}

// randomBytes cannot be compressed; they are always the same.
func randomBytes(n int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// Whatever the payload, a client sees it again, and so does a server of ours.
func TestDeflateSurvives(t *testing.T) {
	var z wsframe.Inflater
	rapid.Check(t, func(t *rapid.T) {
		word := rapid.SliceOfN(rapid.Byte(), 1, 40).Draw(t, "word")
		payload := bytes.Repeat(word, rapid.IntRange(0, 4000).Draw(t, "times"))
		payload = append(payload, rapid.SliceOfN(rapid.Byte(), 0, 200).Draw(t, "tail")...)
		f := wsframe.New(wsframe.Binary, payload)
		d := wsframe.Deflate(f)
		if d.Len() > f.Len() || d.Deflated() != (d.Len() < f.Len()) {
			t.Fatalf("%d bytes became %d", f.Len(), d.Len())
		}
		if !d.Deflated() {
			return
		}
		if inflate(t, d.Payload()) != string(payload) {
			t.Fatal("a client sees something else")
		}
		got, err := decodeWith(&z, frame(deflatedBinary, true, string(d.Payload())), wide, 1000)
		if err != nil || got[0] != "2 "+string(payload) {
			t.Fatalf("the server sees something else: %v", err)
		}
	})
}

func FuzzDeflate(f *testing.F) {
	f.Add([]byte(strings.Repeat("abc", 300)))
	f.Add(randomBytes(600))
	f.Fuzz(func(t *testing.T, payload []byte) {
		d := wsframe.Deflate(wsframe.New(wsframe.Binary, payload))
		if d.Deflated() && inflate(t, d.Payload()) != string(payload) {
			t.Fatal("a client sees something else")
		}
	})
}

// chat is a typical JSON payload of about that size.
func chat(size int) []byte {
	var b bytes.Buffer
	for i := 0; b.Len() < size; i++ {
		_, _ = fmt.Fprintf(&b, `{"id":%d,"user":"user-%x","body":"message %d"},`, i, rand.Uint32(), rand.Uint32N(1000))
	}
	return b.Bytes()[:size]
}

func BenchmarkDeflate(b *testing.B) {
	for _, size := range []int{wsframe.DeflateMin, 1000, 4000} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			f := wsframe.New(wsframe.Text, chat(size))
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				wsframe.Deflate(f)
			}
			b.ReportMetric(float64(wsframe.Deflate(f).Len())/float64(f.Len())*100, "%size")
		})
	}
}

// tables is a payload of about that size that says nothing, in as many blocks
// as possible of which each brings Huffman codes of its own: the most work that a
// client can ask for by a byte.
func tables(size int) string {
	var out []byte
	var bits, count uint
	put := func(value, width uint) {
		bits |= value << count
		for count += width; count >= 8; count -= 8 {
			out = append(out, byte(bits))
			bits >>= 8
		}
	}
	for len(out) < size {
		put(2<<1, 3) // a block with codes of its own, not the last one
		put(29, 5)   // 286 lengths of literals
		put(0, 5)    // 1 length of distances
		put(14, 4)   // 18 lengths of the codes for these lengths:
		for _, length := range []uint{0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1} {
			put(length, 3) // "1" for many zeros, "0" for a one
		}
		for _, zeros := range []uint{138, 118} {
			put(1, 1)
			put(zeros-11, 7)
		}
		put(0, 1) // the end of a block has a code
		put(1, 1)
		put(28-11, 7)
		put(0, 1) // and the longest match
		put(0, 1) // and a distance
		put(0, 1) // the end
	}
	put(0, 3) // the empty block of a flush
	put(0, 7) // up to the next byte
	return string(out)
}

func BenchmarkInflate(b *testing.B) {
	empty := strings.Repeat("\x00\x00\x00\xff\xff", 20_000) // nothing, in many blocks
	for name, payload := range map[string]string{
		"200": deflate(string(chat(200))), "1000": deflate(string(chat(1000))), "4000": deflate(string(chat(4000))),
		"bomb": deflate(strings.Repeat("x", 64<<20)), "blocks": empty, "tables": tables(100_000),
	} {
		b.Run(name, func(b *testing.B) {
			stream := frame(deflatedText, true, payload)
			work := make([]byte, len(stream))
			b.SetBytes(int64(len(stream)))
			b.ReportAllocs()
			var z wsframe.Inflater
			for b.Loop() {
				copy(work, stream)
				var d wsframe.Decoder
				_, _, _, _ = d.Next(work, wide, &z)
			}
		})
	}
}
