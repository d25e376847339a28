package serf

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestFilesOfKeys(t *testing.T) {
	a, b := NewKey(), NewKey()
	for name, test := range map[string]struct {
		text string
		keys int    // if it is good
		want string // part of the error if it is not
	}{
		"as we write it":    {FormatKeys(a, b), 2, ""},
		"as openssl does":   {a + "\n", 1, ""},
		"Windows":           {"# x\r\n" + a + "\r\n\r\n" + b, 2, ""},
		"empty":             {"", 0, "1 to 8 keys"},
		"nothing but words": {"# x\n", 0, "1 to 8 keys"},
		"too many":          {strings.Repeat(a+"\n", 9), 0, "1 to 8 keys"},
		"no base64":         {a + "\nsecret!", 0, "line 2"},
		"short":             {"c2tlaW4=", 0, "line 1"},
	} {
		keys, err := parseKeys([]byte(test.text))
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) || len(keys) != test.keys {
			t.Errorf("%s: %d keys, %v", name, len(keys), err)
		}
		if err != nil && (strings.Contains(err.Error(), a) || strings.Contains(err.Error(), "secret")) {
			t.Errorf("%s: %v shows a key", name, err)
		}
	}
}

func TestKeysAreReadAsWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	rapid.Check(t, func(t *rapid.T) {
		key := rapid.Custom(func(t *rapid.T) []byte {
			n := rapid.SampledFrom([]int{16, 24, 32}).Draw(t, "length")
			return rapid.SliceOfN(rapid.Byte(), n, n).Draw(t, "key")
		})
		keys := rapid.SliceOfN(key, 1, maxKeys).Draw(t, "keys")
		if err := writeKeys(path, keys); err != nil {
			t.Fatal(err)
		}
		if got, err := readKeys(path); err != nil || !reflect.DeepEqual(got, keys) {
			t.Fatalf("wrote %v, read %v, %v", keys, got, err)
		}
	})
	left, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(left) != 1 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func FuzzParseKeys(f *testing.F) {
	f.Add([]byte(FormatKeys(NewKey())))
	f.Add([]byte("#\n\r\n= =\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		keys, err := parseKeys(text)
		if err != nil {
			return
		}
		var encoded []string
		for _, key := range keys {
			encoded = append(encoded, base64.StdEncoding.EncodeToString(key))
		}
		if again, err := parseKeys([]byte(FormatKeys(encoded...))); err != nil || !reflect.DeepEqual(again, keys) {
			t.Errorf("%v became %v, %v", keys, again, err)
		}
	})
}

// What arrives as a question comes from the network.
func FuzzKeyQuestion(f *testing.F) {
	f.Add([]byte(`{"step":"install","key":"AAAA"}`))
	f.Add([]byte(`{"step":"remove","id":"00"}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		if reply := (keyring{}).answer(payload); len(reply) > 900 || !strings.Contains(string(reply), "problem") {
			t.Errorf("%q was answered %q", payload, reply)
		}
	})
}
