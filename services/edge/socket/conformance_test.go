package socket_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/skein-mesh/skein/pkg/wsframe"
	"github.com/skein-mesh/skein/services/edge/socket"
)

// wireCase is what a client sends, and what it gets.
type wireCase struct {
	name string
	send []byte
	want []string
}

// plainCases are what Phoenix on Bandit answers; the names are those of its
// recorded cases.
func plainCases() []wireCase {
	x := func(n int) string { return strings.Repeat("x", n) }
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	closing := func(payload string) []byte { return frame(wsframe.Close, true, payload) }
	big := x(100_000)
	return []wireCase{
		{"text", frame(wsframe.Text, true, "hi"), []string{"hi"}},
		{"empty text", frame(wsframe.Text, true, ""), []string{""}},
		{"binary", frame(wsframe.Binary, true, "\x00\xff"), []string{"binary \x00\xff"}},
		{"100 kB", frame(wsframe.Text, true, big), []string{big}},
		{"many in one packet", bytes.Repeat(frame(wsframe.Text, true, "x"), 500), strings.Split(x(500), "")},
		{"ping", frame(wsframe.Ping, true, "hi"), []string{"pong hi"}},
		{"unsolicited pong", join(frame(wsframe.Pong, true, "hi"), frame(wsframe.Text, true, "a")), []string{"a"}},
		{
			"fragmented text",
			join(frame(wsframe.Text, false, "ab"), frame(wsframe.Ping, true, "mid"), frame(0, true, "cd")),
			[]string{"pong mid", "abcd"},
		},
		{"rune over fragments", join(frame(wsframe.Text, false, "\xc3"), frame(0, true, "\xa4")), []string{"ä"}},
		{"reserved bit set", []byte{0xa1, 0x81, 1, 2, 3, 4, 5}, []string{"close 1002", "end"}},
		{"reserved opcode 3", frame(3, true, "x"), []string{"close 1002", "end"}},
		{"not masked", []byte{0x81, 0x01, 'x'}, []string{"close 1002", "end"}},
		{"unexpected continuation", frame(0, true, "x"), []string{"close 1002", "end"}},
		{"text inside text", join(frame(1, false, "a"), frame(1, true, "b")), []string{"close 1002", "end"}},
		{"ping > 125 bytes", frame(wsframe.Ping, true, x(126)), []string{"close 1002", "end"}},
		{"fragmented ping", frame(wsframe.Ping, false, "x"), []string{"close 1002", "end"}},
		{"text is not UTF-8", frame(wsframe.Text, true, "a\xff"), []string{"close 1007", "end"}},
		{"half a rune", frame(wsframe.Text, true, "\xc3"), []string{"close 1007", "end"}},
		{"client close 1000", closing("\x03\xe8"), []string{"close 1000", "end"}},
		{"client close 1001", closing("\x03\xe9bye"), []string{"close 1000", "end"}},
		{"client close 1011", closing("\x03\xf3"), []string{"close 1000", "end"}},
		{"client close 3000", closing("\x0b\xb8"), []string{"close 1000", "end"}},
		{"client close 4999", closing("\x13\x87"), []string{"close 1000", "end"}},
		{"client close without code", closing(""), []string{"close 1000", "end"}},
		{"client close 999", closing("\x03\xe7"), []string{"close 1002", "end"}},
		{"client close 1005", closing("\x03\xed"), []string{"close 1002", "end"}},
		{"client close 1006", closing("\x03\xee"), []string{"close 1002", "end"}},
		{"client close 1012", closing("\x03\xf4"), []string{"close 1002", "end"}},
		{"client close 2999", closing("\x0b\xb7"), []string{"close 1002", "end"}},
		{"close reason is not UTF-8", closing("\x03\xe8\xff"), []string{"close 1002", "end"}},
		{
			"reply, then close, then nothing", join(frame(1, true, "a"), closing("\x03\xe8"), frame(1, true, "b")),
			[]string{"a", "close 1000", "end"},
		},
		{"handler closes", join(frame(1, true, "a"), frame(1, true, "restart"), frame(1, true, "b")), []string{"a", "close 1012"}},
		{"handler panics", frame(1, true, "panic"), []string{"close 1011"}},
		{
			"answer to the server's close", join(frame(1, true, "restart"), closing("\x03\xf4")),
			[]string{"close 1012", "end"},
		},
	}
}

// deflateCases are for connections that negotiated compression.
func deflateCases() []wireCase {
	const text = wsframe.Text | 0x40 // compressed
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	hi := deflate("hi")
	long := strings.Repeat(`{"a":1},`, 5000)
	return []wireCase{
		{"compressed", frame(text, true, hi), []string{"hi"}},
		{"compressed, a long answer", frame(text, true, deflate(long)), []string{"deflated " + long}},
		{"compressed binary", frame(wsframe.Binary|0x40, true, deflate("\x00\xff")), []string{"binary \x00\xff"}},
		{
			"by turns", join(frame(text, true, hi), frame(wsframe.Text, true, "plain"), frame(text, true, deflate("again"))),
			[]string{"hi", "plain", "again"},
		},
		{
			"fragmented around a ping", join(frame(text, false, hi[:1]), frame(wsframe.Ping, true, "mid"), frame(0, true, hi[1:])),
			[]string{"pong mid", "hi"},
		},
		{"no context", join(frame(text, true, deflate(long)), frame(text, true, deflate("a")), frame(text, true, deflate(long))), []string{"deflated " + long, "a", "deflated " + long}},
		{"empty", frame(text, true, "\x00"), []string{""}},
		{"bit on a continuation", join(frame(text, false, hi[:1]), frame(0x40, true, hi[1:])), []string{"close 1002", "end"}},
		{"bit on a ping", frame(wsframe.Ping|0x40, true, "p"), []string{"close 1002", "end"}},
		{"bit on a close", frame(wsframe.Close|0x40, true, "\x03\xe8"), []string{"close 1002", "end"}},
		{"another reserved bit", frame(text|0x10, true, hi), []string{"close 1002", "end"}},
		{"not deflate", frame(text, true, "hello, world"), []string{"close 1007", "end"}},
		{"truncated", frame(text, true, deflate(long)[:30]), []string{"close 1007", "end"}},
		{"inflates to bad UTF-8", frame(text, true, deflate("a\xff")), []string{"close 1007", "end"}},
		{"bomb", frame(text, true, deflate(strings.Repeat("x", 32<<20))), []string{"close 1009", "end"}},
		{
			"fragmented bomb", func() []byte {
				bomb := deflate(strings.Repeat("x", 32<<20))
				return join(frame(text, false, bomb[:100]), frame(0, true, bomb[100:]))
			}(), []string{"close 1009", "end"},
		},
	}
}

func TestConformance(t *testing.T) {
	onEngines(t, func(t *testing.T, e mode) {
		s := start(t, socket.Options{Engine: e.engine, Writer: e.writer})
		rsv1 := wireCase{"compressed without negotiation", []byte{0xc1, 0x81, 1, 2, 3, 4, 5}, []string{"close 1002", "end"}}
		for _, tt := range append(plainCases(), rsv1) {
			conform(t, s, dial, tt)
		}
		for _, tt := range slices.Concat(plainCases(), deflateCases()) {
			if tt.name == "100 kB" {
				tt.want = []string{"deflated " + tt.want[0]}
			}
			tt.name = "deflating/" + tt.name
			conform(t, s, dialDeflating, tt)
		}
		t.Run("bystander", func(t *testing.T) {
			c := dial(t, s)
			c.text("still here")
			c.expect("still here")
		})
	})
}

// conform runs a case with its bytes cut in several ways.
func conform(t *testing.T, s *server, dial dialer, tt wireCase) {
	t.Helper()
	t.Run(tt.name, func(t *testing.T) {
		c := dial(t, s)
		c.write(tt.send)
		c.expect(tt.want...)
	})
	t.Run(tt.name+"/behind the handshake", func(t *testing.T) {
		dial(t, s, tt.send...).expect(tt.want...)
	})
	if len(tt.send) >= 100 {
		return
	}
	t.Run(tt.name+"/byte by byte", func(t *testing.T) {
		c := dial(t, s)
		for _, b := range tt.send {
			if _, err := c.Write([]byte{b}); err != nil {
				break // refused before its end
			}
		}
		c.expect(tt.want...)
	})
}

// The limit counts the frame's header, and fragments are added up separately.
func TestSizeLimits(t *testing.T) {
	x := func(n int) string { return strings.Repeat("x", n) }
	tests := []wireCase{
		{"largest frame", frame(wsframe.Text, true, x(1016)), []string{x(1016)}},
		{"one byte more", frame(wsframe.Text, true, x(1017)), []string{"close 1009", "end"}},
		{"oversize frame", frame(wsframe.Text, true, x(2042)), []string{"close 1009", "end"}},
		{"a terabyte is promised", []byte{0x82, 0xff, 0, 0, 1, 0, 0, 0, 0, 0, 1, 2, 3, 4}, []string{"close 1009", "end"}},
		{
			"fragments each below the limit",
			append(frame(1, false, x(839)), frame(0, true, x(803))...), []string{x(1642)},
		},
		{
			"fragments over the message limit",
			append(frame(1, false, x(1000)), append(frame(0, false, x(1000)), frame(0, true, x(1))...)...),
			[]string{"close 1009", "end"},
		},
	}
	// Longer ones come back compressed.
	deflated := []wireCase{
		{"at the message limit, inflated", frame(wsframe.Text|0x40, true, deflate(x(2000))), []string{"deflated " + x(2000)}},
		{"over the message limit, inflated", frame(wsframe.Text|0x40, true, deflate(x(2001))), []string{"close 1009", "end"}},
		{"second fragment is too large", append(frame(1, false, "a"), frame(0, true, x(1017))...), []string{"close 1009", "end"}},
	}
	onEngines(t, func(t *testing.T, e mode) {
		s := start(t, socket.Options{Engine: e.engine, Writer: e.writer, Mounts: []socket.Mount{
			{Path: "/socket", Admit: admit(echoes), Compress: true, FrameBytes: 1024, MessageBytes: 2000},
		}})
		for _, tt := range tests {
			conform(t, s, dial, tt)
		}
		for _, tt := range deflated {
			conform(t, s, dialDeflating, tt)
		}
	})
}
