//go:build !linux

package bench

import (
	"context"
	"errors"
	"io"
	"time"

	"google.golang.org/grpc"
)

var errLinux = errors.New("bench needs Linux: it drives its sockets by epoll and reads /proc")

// Connect is for Linux only.
func Connect(context.Context, ConnectOptions) (*Report, error) { return nil, errLinux }

// FanOut is for Linux only.
func FanOut(context.Context, FanoutOptions, func(context.Context) (*grpc.ClientConn, error)) (*Report, error) {
	return nil, errLinux
}

// People is for Linux only.
func People(context.Context, PeopleOptions, func()) (*Report, error) { return nil, errLinux }

// Floor is for Linux only.
func Floor(int, io.Writer, time.Duration) error { return errLinux }

// Telemetry is for Linux only.
func Telemetry(context.Context, TelemetryOptions) (*Report, error) { return nil, errLinux }
