package pair_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/skein-mesh/skein/cmd/skein/bench/pair"
)

// start runs a pair. What it is told goes to input, and done gets how it ended.
func start(t *testing.T) (ports pair.Ports, input io.WriteCloser, output *bufio.Reader, done <-chan error) {
	t.Helper()
	in, input := io.Pipe()
	out, stdout := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := pair.Serve(t.Context(), in, stdout, io.Discard, "http://127.0.0.1:1")
		stdout.CloseWithError(err)
		ended <- err
	}()
	output = bufio.NewReader(out)
	line, err := output.ReadString('\n')
	if err == nil {
		ports, err = pair.ParsePorts(line)
	}
	if err != nil {
		t.Fatal(err)
	}
	return ports, input, output, ended
}

func TestServe(t *testing.T) {
	ports, input, output, done := start(t)
	for _, address := range ports.Admin {
		resp, err := http.Get("http://" + address + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Errorf("%s: %s", address, resp.Status)
		}
	}
	for _, n := range []string{"20\n", "0\n", "1\n"} {
		fmt.Fprint(input, n)
		if line, err := output.ReadString('\n'); line != n || err != nil {
			t.Errorf("answered %q to %q: %v", line, n, err)
		}
	}
	input.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestNonsense(t *testing.T) {
	_, input, _, done := start(t)
	fmt.Fprintln(input, "loud")
	if err := <-done; err == nil || !strings.Contains(err.Error(), `"loud"`) {
		t.Errorf("got %v", err)
	}
	for _, line := range []string{"", "floor listens on 127.0.0.1:1", "pair listens on "} {
		if _, err := pair.ParsePorts(line); err == nil {
			t.Errorf("%q: no error", line)
		}
	}
}
