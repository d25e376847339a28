package telemetry

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/skein-mesh/skein/pkg/bubble"
)

func TestLevelGoesBackByItself(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		l := NewLevel(slog.LevelWarn)
		check := func(want slog.Level, left time.Duration) {
			t.Helper()
			now, configured, until := l.Look()
			if now != want || l.Level() != want || configured != slog.LevelWarn {
				t.Errorf("level %s of %s, want %s", now, configured, want)
			}
			if left == 0 != until.IsZero() || left > 0 && time.Until(until) != left {
				t.Errorf("until %s", until)
			}
		}
		check(slog.LevelWarn, 0)
		l.Set(slog.LevelDebug, time.Minute)
		time.Sleep(59 * time.Second) // virtual time
		check(slog.LevelDebug, time.Second)
		l.Set(slog.LevelInfo, 10*time.Second) // the first change does not end this one
		time.Sleep(9 * time.Second)           // virtual time
		check(slog.LevelInfo, time.Second)
		time.Sleep(time.Second + 1) // virtual time
		check(slog.LevelWarn, 0)
		l.Set(slog.LevelError, time.Hour)
		l.Reset()
		check(slog.LevelWarn, 0)
		time.Sleep(2 * time.Hour) // virtual time
		check(slog.LevelWarn, 0)
	})
}

func TestLevelOfALogger(t *testing.T) {
	var out strings.Builder
	tel, err := New(t.Context(), Config{LogLevel: slog.LevelWarn}, Identity{Service: "skein-test", ID: "x"}, &out)
	if err != nil {
		t.Fatal(err)
	}
	tel.Log.Debug("before")
	tel.Level.Set(slog.LevelDebug, time.Hour)
	tel.Log.Debug("meanwhile")
	tel.Level.Reset()
	tel.Log.Debug("after")
	if got := out.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "meanwhile") {
		t.Errorf("logged %s", got)
	}
}
