// Package healthcheck lets a program ask a running copy of itself whether it is
// ready, for images that hold nothing else to ask with:
//
//	HEALTHCHECK CMD ["/skein", "healthcheck"]
//
// The one that asks finds the admin port as the one that runs does: in the
// environment, the file, or flags behind the command.
package healthcheck

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// Command is the first argument of a program that is to ask, not to run.
const Command = "healthcheck"

// timeout is what an answer may take; it is below the timeouts of container
// engines, so that they show the reason and not that time was up.
const timeout = 2 * time.Second

// maxReason is how many bytes of an answer are shown.
const maxReason = 1 << 10

// Asked takes [Command] off the arguments and says whether it stood first.
func Asked(args []string) (rest []string, asked bool) {
	if len(args) > 0 && args[0] == Command {
		return args[1:], true
	}
	return args, false
}

// Ask returns nil if the process whose admin port is at host:port is ready, and
// otherwise what it says or why it cannot be asked.
func Ask(ctx context.Context, admin string) error {
	target, err := target(admin)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+target+"/readyz", http.NoBody)
	if err != nil {
		return fmt.Errorf("healthcheck: %w", err)
	}
	// A proxy of the environment is not meant for a process on this host.
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("healthcheck: %w", err)
	}
	defer func() { _ = response.Body.Close() }() // nothing more to learn from it
	reason, _ := io.ReadAll(io.LimitReader(response.Body, maxReason))
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("not ready: %s", strings.TrimSpace(string(reason)))
	}
	return nil
}

// target is where a process that listens on admin is found on its own host.
func target(admin string) (string, error) {
	if admin == "" {
		return "", errors.New("healthcheck: there is no admin port to ask: set admin")
	}
	host, port, err := net.SplitHostPort(admin)
	if err != nil {
		return "", fmt.Errorf("healthcheck: admin: %w", err)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return net.JoinHostPort(host, port), nil
}
