//go:build unix

package seeds

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// script makes a command of a shell script.
func script(t *testing.T, text string) command {
	t.Helper()
	path := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return command{[]string{path}}
}

func TestCommand(t *testing.T) {
	t.Setenv("SKEIN_GOSSIP_KEYS", "secret")
	t.Setenv("REGION", "north")
	c := script(t, `echo "$1:1 # $2"; echo "$REGION:2"; echo "${SKEIN_GOSSIP_KEYS:-none}:3"; echo chatter >&2; cat`)
	c.argv = append(c.argv, "a", "$(b);*")
	got, err := c.Addresses(t.Context())
	if want := []string{"a:1", "north:2", "none:3"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
}

func TestCommandFails(t *testing.T) {
	for name, test := range map[string]struct {
		command command
		why     reason
		part    string
	}{
		"exit":       {script(t, "echo a:1; echo it broke >&2; exit 3"), failed, `exit status 3, and it said "it broke"`},
		"silent":     {script(t, "exit 4"), failed, "exit status 4"},
		"not there":  {command{[]string{"/nowhere/command"}}, notFound, "/nowhere/command"},
		"not found":  {command{[]string{"no-such-command-of-skein"}}, notFound, "no-such-command-of-skein"},
		"forbidden":  {command{[]string{t.TempDir()}}, forbidden, "permission"},
		"nonsense":   {script(t, "echo a:1; echo hello world"), malformed, "line 2"},
		"too much":   {script(t, fmt.Sprintf("head -c %d /dev/zero", maxText+1)), malformed, "more than"},
		"much noise": {script(t, "head -c 100000 /dev/zero | tr '\\0' x >&2; exit 1"), failed, strings.Repeat("x", maxComplaint) + `"`},
	} {
		addresses, err := test.command.Addresses(t.Context())
		if classify(err) != test.why || !strings.Contains(err.Error(), test.part) {
			t.Errorf("%s: %q, %v", name, addresses, err)
		}
	}
}

// When its time is over, what the command started ends with it.
func TestCommandIsKilled(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	c := script(t, `sleep 1000 3>"$1" & wait`) // opened once somebody reads
	c.argv = append(c.argv, fifo)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := c.Addresses(ctx)
		done <- err
	}()
	pipe, err := os.Open(fifo) // the sleep has begun
	if err != nil {
		t.Fatal(err)
	}
	defer pipe.Close()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if n, err := pipe.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("read %d bytes: the sleep goes on", n) // it is at its end once all writers are
	}
}
