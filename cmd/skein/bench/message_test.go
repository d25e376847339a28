package bench

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestPayloadsAreReadBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := stamp{
			rapid.Uint32().Draw(t, "publisher"), rapid.Uint32().Draw(t, "seq"),
			time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(t, "sent")),
		}
		size := rapid.IntRange(minPayload, 1000).Draw(t, "size")
		payload := appendPayload(nil, s, size)
		if len(payload) != size || !json.Valid(payload) {
			t.Fatalf("%d bytes, want %d: %s", len(payload), size, payload)
		}
		if got, err := parsePayload(payload); err != nil || got != s {
			t.Fatalf("got %v, %v, want %v", got, err, s)
		}
	})
}

func TestPushesAreMessages(t *testing.T) {
	push := appendPush(nil, topicName(7), stamp{1, 42, 5}, 100)
	m, err := decode(push)
	if err != nil || m.joinRef != "1" || m.ref != "42" || m.topic != "bench:7" || m.event != event || len(m.payload) != 100 {
		t.Errorf("got %+v, %v", m, err)
	}
	broadcast := append(broadcastHead(topicName(7)), m.payload...)
	if m, err = decode(append(broadcast, ']')); err != nil || m.topic != "bench:7" || m.event != event || m.ref != "" {
		t.Errorf("got %+v, %v", m, err)
	}
}

func TestForeignPayloads(t *testing.T) {
	for _, text := range []string{
		"", "{}", `{"p":`, `{"p":1`, `{"p":1,"n":2`, `{"p":x,"n":2,"t":3`, `{"p":99999999999,"n":2,"t":3,"x":""}`,
		`{"p":1,"n":99999999999,"t":3,"x":""}`, `{"p":1,"n":2,"t":,"x":""}`, `{"p":123456789012345678901234,"n":2,"t":3}`,
	} {
		if s, err := parsePayload([]byte(text)); err == nil {
			t.Errorf("%s was read as %v", text, s)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	for _, text := range []string{"", "{}", "[]", "[1,2,3,4,5]", `[null,null,"t","e"]`, `[null,null,"t","e",{},1]`} {
		if m, err := decode([]byte(text)); err == nil {
			t.Errorf("%s was read as %v", text, m)
		}
	}
}

func TestReplied(t *testing.T) {
	for text, want := range map[string]bool{
		`{"status":"ok","response":{}}`:                    true,
		`{"response":{"status":"error"}, "status": "ok"}`:  true,
		`{"status":"error","response":{"reason":"limit"}}`: false,
		`{"response":{"status":"ok"}}`:                     false,
		`ok`:                                               false,
	} {
		if got := replied([]byte(text)); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
}

func FuzzMessages(f *testing.F) {
	f.Add(appendPush(nil, "t", stamp{1, 2, 3}, 80))
	f.Add([]byte(`["1","1","t","phx_reply",{"status":"ok","response":{}}]`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, err := decode(b); err == nil {
			replied(m.payload)
		}
		if s, err := parsePayload(b); err == nil && !bytes.HasPrefix(b, []byte(`{"p":`)) {
			t.Errorf("%q was read as %v", b, s)
		}
	})
}
