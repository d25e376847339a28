package telemetry

import (
	"log/slog"
	"sync"
	"time"
)

// Level is the least level of log lines. It may be changed for a while and goes
// back by itself. All methods may be called concurrently.
type Level struct {
	// Static after construction.
	configured slog.Level

	now slog.LevelVar // read by every log line

	// mu guards the fields below.
	mu    sync.Mutex
	until time.Time   // zero while the configured level counts
	timer *time.Timer // that ends the change; nil before the first
	turn  int         // of changes so far: a timer that is late ends only its own
}

// NewLevel returns a level that is the configured one.
func NewLevel(configured slog.Level) *Level {
	l := &Level{configured: configured}
	l.now.Set(configured)
	return l
}

// Level implements [slog.Leveler].
func (l *Level) Level() slog.Level { return l.now.Level() }

// Look returns the level that counts, the configured one, and when that counts
// again; zero if it does already.
func (l *Level) Look() (now, configured slog.Level, until time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.now.Level(), l.configured, l.until
}

// Set makes another level count for d, whatever counted before.
func (l *Level) Set(level slog.Level, d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stop()
	l.now.Set(level)
	l.until = time.Now().Add(d)
	turn := l.turn
	l.timer = time.AfterFunc(d, func() { l.end(turn) })
}

// Reset makes the configured level count again.
func (l *Level) Reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stop()
}

func (l *Level) end(turn int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if turn == l.turn {
		l.stop()
	}
}

// stop ends a change, if there is one. The caller holds mu.
func (l *Level) stop() {
	l.turn++
	if l.timer != nil {
		l.timer.Stop()
	}
	l.now.Set(l.configured)
	l.until = time.Time{}
}
