package serf

import (
	"bytes"
	"log" //nolint:depguard // serf wants one; it writes to a slog.Logger
	"log/slog"
	"strings"
)

// newLogger returns a logger for serf and memberlist, which passes on each line
// with the level that it begins with.
func newLogger(sink *slog.Logger) *log.Logger {
	return log.New(lines{sink}, "", 0)
}

// routine begins a line that serf writes each second for minutes after a member
// failed.
const routine = "serf: attempting reconnect"

// lines turns each written line into a record.
type lines struct{ to *slog.Logger }

// Write implements io.Writer.
func (l lines) Write(line []byte) (int, error) {
	level, text := splitLevel(line)
	if strings.HasPrefix(text, routine) {
		level = "DEBUG"
	}
	switch level {
	case "ERR", "ERROR":
		l.to.Error(text)
	case "WARN":
		l.to.Warn(text)
	case "INFO":
		l.to.Info(text)
	default:
		l.to.Debug(text)
	}
	return len(line), nil
}

// splitLevel splits "[LEVEL] text".
func splitLevel(line []byte) (level, text string) {
	line = bytes.TrimSpace(line)
	if bytes.HasPrefix(line, []byte("[")) {
		if level, rest, ok := bytes.Cut(line[1:], []byte("]")); ok {
			return string(level), string(bytes.TrimSpace(rest))
		}
	}
	return "", string(line)
}
