package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"github.com/skein-mesh/skein/cmd/skein/bench/pair"
)

// pairChild is an edge and a router that run as a process of their own.
type pairChild struct {
	*child

	ports    pair.Ports
	scraping http.Client
}

// startPair runs this program again as a pair that sends its spans to otlp.
func startPair(ctx context.Context, otlp string) (*pairChild, error) {
	c, line, err := startChild(ctx, PairCommand(otlp))
	if err != nil {
		return nil, fmt.Errorf("pair: %w", err)
	}
	ports, err := pair.ParsePorts(line)
	if err != nil {
		return nil, errors.Join(err, c.stop())
	}
	return &pairChild{child: c, ports: ports, scraping: http.Client{Transport: &http.Transport{}}}, nil
}

// turn has the child record so much from now on, and returns when it does.
func (c *pairChild) turn(volume int) error {
	want := strconv.Itoa(volume) + "\n"
	if _, err := io.WriteString(c.input, want); err != nil {
		return fmt.Errorf("pair: %w", err)
	}
	if line, err := c.output.ReadString('\n'); err != nil || line != want {
		return errors.Join(fmt.Errorf("pair: answered %.200q instead of %q", line, want), err)
	}
	return nil
}

// scrape collects the metrics of both services as Prometheus does.
func (c *pairChild) scrape(ctx context.Context) error {
	for _, address := range c.ports.Admin {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/metrics", nil)
		if err != nil {
			return fmt.Errorf("scrape: %w", err)
		}
		resp, err := c.scraping.Do(req)
		if err != nil {
			return fmt.Errorf("scrape: %w", err)
		}
		_, err = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close() // read to its end
		if err != nil {
			return fmt.Errorf("scrape: %w", err)
		}
	}
	return nil
}
