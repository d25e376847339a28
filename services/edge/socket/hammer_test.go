package socket_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/skein-mesh/skein/pkg/wsframe"
	"github.com/skein-mesh/skein/services/edge/socket"
)

// Every method from everywhere at once; the race detector is the judge.
func TestHammer(t *testing.T) {
	onEngines(t, func(t *testing.T, e mode) {
		s := start(t, socket.Options{Engine: e.engine, Writer: e.writer, Limits: socket.Limits{OutboxBytes: 4096, CloseWait: 20 * time.Millisecond}})
		var wg sync.WaitGroup
		stop := make(chan struct{})
		for i := range 4 {
			wg.Go(func() {
				plain := wsframe.New(wsframe.Text, []byte(strings.Repeat("z", 500)))
				deflated := wsframe.Deflate(plain)
				for n := 0; ; n++ {
					select {
					case <-stop:
						return
					default:
					}
					for c := range s.All() {
						if c.Deflates() {
							c.Send(deflated)
						} else {
							c.Send(plain)
						}
						switch (n + i) % 50 {
						case 0:
							c.Pause()
						case 1:
							c.Resume()
						case 2:
							c.Close(wsframe.CodePolicy, "")
						}
					}
				}
			})
		}
		var clients sync.WaitGroup
		for i := range 8 {
			clients.Go(func() {
				dial := []dialer{dial, dialDeflating}[i%2]
				for range 30 {
					c := dial(t, s)
					for range 20 {
						if _, err := c.Write(frame(1, true, "hello")); err != nil {
							break
						}
					}
					for got := ""; got != "end" && !strings.HasPrefix(got, "close"); {
						got = c.next()
					}
					_ = c.Close()
				}
			})
		}
		clients.Wait()
		close(stop)
		wg.Wait()
	})
}

// A client that pings and reads no pong is a slow reader, not a memory leak.
func TestPingFlood(t *testing.T) {
	onEngines(t, func(t *testing.T, e mode) {
		s := start(t, socket.Options{
			Engine: e.engine, Writer: e.writer,
			Limits: socket.Limits{OutboxBytes: 16 << 10, CloseWait: 20 * time.Millisecond},
		})
		rude, kind := dial(t, s), dial(t, s)
		pings := []byte(strings.Repeat(string(frame(wsframe.Ping, true, strings.Repeat("p", 125))), 500))
		var flood sync.WaitGroup
		flood.Go(func() {
			for {
				if _, err := rude.Write(pings); err != nil {
					return
				}
			}
		})
		eventually(t, "the flood is cut off", func() bool { return s.Stats().SlowClosed == 1 && s.Count() == 1 })
		flood.Wait()
		kind.text("still here")
		kind.expect("still here")
	})
}
