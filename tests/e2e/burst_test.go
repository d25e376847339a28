//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	routerv1 "github.com/skein-mesh/skein/proto/gen/skein/router/v1"
)

// TestABurstClosesNobodyWhoReads publishes a megabyte at once to subscribers
// that read all the time.
func TestABurstClosesNobodyWhoReads(t *testing.T) {
	f := startFleet(t)
	const topic, count = "room:burst", 1000
	results := make(chan error, 10)
	for range cap(results) {
		w := dial(t, f.edges[0].listen)
		_ = w.Text(`["1","1","` + topic + `","phx_join",{}]`)
		if _, _, err := w.Read(); err != nil {
			t.Fatal(err)
		}
		_ = w.SetReadDeadline(time.Now().Add(20 * time.Second))
		go func() {
			for i := range count {
				if _, _, err := w.Read(); err != nil {
					results <- fmt.Errorf("after %d messages: %w", i, err)
					return
				}
			}
			results <- nil
		}()
	}
	batch := &routerv1.PublishBatchRequest{}
	for range count {
		batch.Messages = append(batch.Messages, &routerv1.Message{
			Topic: topic, Event: "e", Payload: &routerv1.Message_Json{Json: `{"p":"` + strings.Repeat("x", 1000) + `"}`},
		})
	}
	if _, err := f.routers[0].client(t).PublishBatch(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	for range cap(results) {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
}
