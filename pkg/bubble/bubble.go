// Package bubble runs tests in virtual time. It is imported by tests only.
package bubble

import (
	"runtime"
	"testing"
	"testing/synctest"
)

// Test is [synctest.Test] on one processor. All timers of a bubble share one
// context of the race detector, which Go 1.26 uses from several threads at once
// when a timer that is due is made while others fire: the process then ends in
// a segmentation violation, in about one of six runs of our largest bubbles. On
// one processor nothing runs at once. Tests that call Test must not be parallel.
func Test(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	synctest.Test(t, f) //nolint:forbidigo // here it is
}
