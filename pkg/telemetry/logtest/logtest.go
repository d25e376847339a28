// Package logtest keeps what is logged, for tests that read it meanwhile.
package logtest

import (
	"strings"
	"sync"
)

// Buffer keeps what is written to it. The zero value is empty and ready; all
// methods may be called concurrently.
type Buffer struct {
	// mu guards the fields below.
	mu   sync.Mutex
	text strings.Builder
}

// Write keeps p. It never fails.
func (b *Buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

// String is everything that was written so far.
func (b *Buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// Count is how many lines hold a text.
func (b *Buffer) Count(text string) int {
	n := 0
	for line := range strings.Lines(b.String()) {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}
