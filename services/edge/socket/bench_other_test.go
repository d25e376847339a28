//go:build !linux

package socket_test

import "errors"

func runClients(string) error { return errors.New("the benchmarks need epoll") }
