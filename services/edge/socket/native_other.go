//go:build !linux

package socket

import (
	"errors"

	"github.com/fasthttp/websocket"
)

// native exists on Linux only.
type native struct{ portable }

func newNative(*Server) (*native, error) {
	return nil, errors.New("epoll engine: not on this system")
}

func (*native) adopt(*guest, *websocket.Conn) error { return nil }
