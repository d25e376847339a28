package callout

import (
	"bytes"
	"testing"

	"github.com/skein-mesh/skein/pkg/telemetry"
	"github.com/skein-mesh/skein/services/edge/session"
)

func TestACallBelongsToItsCallersTrace(t *testing.T) {
	inWorld(t, Default("e1"), func(t *testing.T, w *world) {
		trace := telemetry.Bytes(telemetry.FromTraceparent(t.Context(), "00-0102030405060708090a0b0c0d0e0f10-1112131415161718-01"))
		ctx, cancel := w.within(w.order("join", room("room:*"), session.Caller{Topic: "room:1", Trace: trace}, session.Payload{}))
		defer cancel()
		if got := telemetry.Bytes(ctx); len(got) != 25 || !bytes.Equal(got, trace) {
			t.Errorf("got %x, want %x", got, trace)
		}
	})
}
