package rpc

import (
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	adminv1 "github.com/skein-mesh/skein/proto/gen/skein/admin/v1"
)

func TestAuditSaysWhoAndWhat(t *testing.T) {
	var out strings.Builder
	call := func(method, level string) {
		ctx := peer.NewContext(context.Background(), &peer.Peer{Addr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 7}})
		_, _ = audit(slog.New(slog.NewJSONHandler(&out, nil)), func(m string) bool { return m == "/audited" })(
			ctx, &adminv1.SetLogLevelRequest{Node: "e1", Level: level}, &grpc.UnaryServerInfo{FullMethod: method},
			func(context.Context, any) (any, error) { return nil, status.Error(codes.NotFound, "no") })
	}
	call("/other", "debug")
	call("/audited", "de\nbug")
	var line struct{ Msg, Method, By, Request, Code string }
	if err := json.Unmarshal([]byte(out.String()), &line); err != nil {
		t.Fatal(err, out.String())
	}
	if line.Msg != "audit" || line.Method != "/audited" || line.By != "127.0.0.1:7" || line.Code != "NotFound" ||
		!strings.Contains(line.Request, `"e1"`) || !strings.Contains(line.Request, `de\nbug`) {
		t.Errorf("logged %+v", line)
	}
	out.Reset()
	call("/audited", strings.Repeat("x", 1<<20))
	if out.Len() > 2*maxAudited {
		t.Errorf("logged %d bytes", out.Len())
	}
	if by := Caller(t.Context()); by != "unknown" {
		t.Errorf("a caller from nowhere is %q", by)
	}
}
