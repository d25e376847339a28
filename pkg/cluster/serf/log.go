package serf

import (
	"bytes"
	"context"
	"log" //nolint:depguard // serf wants one; it writes to a slog.Logger
	"log/slog"
	"strings"

	"github.com/skein-mesh/skein/pkg/refusal"
)

// newLogger returns a logger for serf and memberlist, which passes on each line
// with the level that it begins with. Lines about gossip that was refused are
// refusals.
func newLogger(sink *slog.Logger, refusals *refusal.Log) *log.Logger {
	return log.New(lines{sink, refusals}, "", 0)
}

// routine begins a line that serf writes each second for minutes after a member
// failed.
const routine = "serf: attempting reconnect"

// lines turns each written line into a record.
type lines struct {
	to       *slog.Logger
	refusals *refusal.Log // nil for none
}

// Write implements io.Writer.
func (l lines) Write(line []byte) (int, error) {
	level, text := splitLevel(line)
	if reason, known := refused(text); known && l.refusals != nil {
		text, peer, _ := strings.Cut(text, " from=")
		l.refusals.Add(context.Background(), reason, peer, "gossip refused", "error", strings.TrimSuffix(text, ":")) //nolint:forbidigo // a logger has none
		return len(line), nil
	}
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

// refused says whether a line is about gossip of a stranger, and of which kind.
// The library tells nobody else. It writes a line for every packet.
func refused(text string) (refusal.Reason, bool) {
	for _, known := range []struct {
		part   string
		reason refusal.Reason
	}{
		{"unacceptable label", refusal.GossipCluster},
		{"no installed keys could decrypt the message", refusal.GossipKey},
		{"encryption is configured but remote state is not encrypted", refusal.GossipKey},
		{"remote state is encrypted and encryption is not configured", refusal.GossipKey},
	} {
		if strings.Contains(text, known.part) && strings.HasPrefix(text, "memberlist: ") {
			return known.reason, true
		}
	}
	return "", false
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
