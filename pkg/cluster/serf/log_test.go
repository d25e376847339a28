package serf

import (
	"bytes"
	"log/slog"
	"testing"
)

func TestLinesBecomeRecords(t *testing.T) {
	for line, want := range map[string]string{
		"[ERR] memberlist: x\n":                  "level=ERROR msg=\"memberlist: x\"\n",
		"[WARN] serf: x":                         "level=WARN msg=\"serf: x\"\n",
		"[INFO] serf: a\nb":                      "level=INFO msg=\"serf: a\\nb\"\n",
		"[DEBUG] memberlist: x":                  "level=DEBUG msg=\"memberlist: x\"\n",
		"[INFO] serf: attempting reconnect to x": "level=DEBUG msg=\"serf: attempting reconnect to x\"\n",
		"no level":                               "level=DEBUG msg=\"no level\"\n",
		"[half":                                  "level=DEBUG msg=[half\n",
		"[WARN]":                                 "level=WARN msg=\"\"\n",
		"[INFO] name\x1b[31m red":                "level=INFO msg=\"name\\x1b[31m red\"\n",
	} {
		var out bytes.Buffer
		newLogger(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{
			Level: slog.LevelDebug,
			ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
				if a.Key == slog.TimeKey {
					return slog.Attr{}
				}
				return a
			},
		})), nil).Print(line)
		if out.String() != want {
			t.Errorf("%q became %q, want %q", line, out.String(), want)
		}
	}
}
