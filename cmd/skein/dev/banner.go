package dev

import (
	"fmt"
	"log/slog"
	"net"
	"strings"

	"github.com/skein-mesh/skein/pkg/version"
)

// quiet leaves the terminal to the banner.
const quiet = slog.LevelWarn

// Addresses that the other commands use when they are told none.
const (
	usualGRPC         = "127.0.0.1:5000"
	usualPresenceGRPC = "127.0.0.1:6000"
)

// banner says where things are and what to do next.
func banner(cfg *Config, n *network) string {
	var b strings.Builder
	page := browsable(n.clients.Addr())
	fmt.Fprintf(&b, "\nSkein %s is up: one edge, one router, one presence instance.\n\n", version.Version)
	fmt.Fprintf(&b, "  Demo       http://%s  (open it in two tabs)\n", page)
	fmt.Fprintf(&b, "  Clients    new Socket(\"ws://%s/socket\")  with phoenix.js\n", page)
	if n.admin != nil {
		fmt.Fprintf(&b, "  Admin      http://%s/metrics\n", browsable(n.admin.Addr()))
	}
	router, presence := "", ""
	if cfg.GRPC != "" {
		fmt.Fprintf(&b, "  Backends   gRPC at %s\n", n.router.address)
		router = flag("--router", n.router.address, usualGRPC)
	}
	if n.http != nil {
		fmt.Fprintf(&b, "  Backends   http://%s  (its methods: /openapi.json)\n", n.http.Addr())
	}
	if cfg.PresenceGRPC != "" {
		presence = flag("--presence", n.presence.address, usualPresenceGRPC)
	}
	b.WriteString("\nTry next:\n\n")
	if cfg.GRPC == "" {
		fmt.Fprintf(&b, "  skein dev --grpc %s --presence-grpc %s   opens the APIs for the commands\n\n", usualGRPC, usualPresenceGRPC)
	} else {
		fmt.Fprintf(&b, "  skein tail --prefix room:%s\n", router)
		fmt.Fprintf(&b, "  skein publish room:lobby hello '{\"from\":\"a backend\"}'%s\n", router)
		fmt.Fprintf(&b, "  skein topic room:lobby%s\n", router)
		if cfg.PresenceGRPC != "" {
			fmt.Fprintf(&b, "  skein top%s%s\n", router, presence)
		}
		b.WriteString("\n")
	}
	b.WriteString("Ctrl-C stops.\n")
	return b.String()
}

// flag is a flag with its value, if it is not the usual one.
func flag(name, value, usual string) string {
	if value == usual {
		return ""
	}
	return " " + name + " " + value
}

// browsable is an address that a browser on this machine can open.
func browsable(address net.Addr) string {
	tcp, ok := address.(*net.TCPAddr)
	if ok && tcp.IP.IsUnspecified() {
		return fmt.Sprintf("localhost:%d", tcp.Port)
	}
	return address.String()
}
