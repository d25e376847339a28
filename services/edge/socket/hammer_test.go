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
				f := wsframe.New(wsframe.Text, []byte(strings.Repeat("z", 500)))
				for n := 0; ; n++ {
					select {
					case <-stop:
						return
					default:
					}
					for c := range s.All() {
						c.Send(f)
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
		for range 8 {
			clients.Go(func() {
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
