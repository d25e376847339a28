package arch

import (
	"slices"
	"strings"
	"testing"
)

// layers say what the packages below a folder may import of this module: only
// downwards, never sideways between services. The first row that matches a
// package counts; a package may always import what is below its own folder.
var layers = []struct {
	from string
	may  []string
}{
	{"cmd/skein/", []string{"services/edge/", "services/router/", "services/presence/", "pkg/", "proto/gen/", "web/"}},
	{"cmd/skein-edge/", []string{"services/edge/", "pkg/", "web/"}},
	{"cmd/skein-router/", []string{"services/router/", "pkg/"}},
	{"cmd/skein-presence/", []string{"services/presence/", "pkg/"}},

	// An edge's parts know each other only as far as a broadcast travels.
	{"services/edge/hub/", []string{"pkg/channel/", "pkg/phx/", "pkg/wsframe/"}},
	{"services/edge/handshake/", []string{"pkg/phx/"}},
	{"services/edge/session/", []string{"services/edge/hub/", "pkg/channel/", "pkg/grant/", "pkg/namespace/", "pkg/phx/", "pkg/wsframe/"}},
	{"services/edge/socket/", []string{"services/edge/handshake/", "pkg/phx/", "pkg/wsframe/", "pkg/queue/", "pkg/lifecycle/"}},
	{"services/edge/longpoll/", []string{"services/edge/handshake/", "services/edge/session/", "pkg/", "proto/gen/skein/mesh/"}},
	{"services/edge/admit/", []string{"services/edge/handshake/", "services/edge/session/", "pkg/"}},
	{"services/edge/callout/", []string{"services/edge/handshake/", "services/edge/session/", "pkg/", "proto/gen/"}},
	{"services/edge/people/", []string{"services/edge/session/", "pkg/", "proto/gen/skein/presence/"}},
	{"services/edge/hints/", []string{"proto/gen/skein/presence/"}},
	{"services/edge/drain/", nil},
	{"services/edge/uplink/", []string{"pkg/", "proto/gen/"}},
	{"services/edge/report/", []string{"pkg/", "proto/gen/"}},
	{"services/edge/", []string{"pkg/", "proto/gen/", "web/"}},

	{"services/router/exchange/", []string{"pkg/ring/", "pkg/channel/", "proto/gen/skein/mesh/"}},
	{"services/router/", []string{"pkg/", "proto/gen/"}},
	{"services/presence/balance/simulate/", []string{"services/presence/balance/", "services/presence/load/", "proto/gen/skein/presence/"}},
	{"services/presence/balance/", []string{"proto/gen/skein/presence/"}},
	{"services/presence/elect/", []string{"pkg/cluster/"}},
	{"services/presence/orders/", []string{"pkg/cluster/", "proto/gen/skein/presence/"}},
	{"services/presence/", []string{"pkg/", "proto/gen/"}},

	{"pkg/bubble/", nil},
	{"pkg/channel/", nil},
	{"pkg/grant/", nil},
	{"pkg/namespace/", nil},
	{"pkg/token/", []string{"pkg/grant/"}},
	{"pkg/ring/", nil},
	{"pkg/queue/", nil},
	{"pkg/wsframe/", nil},
	{"pkg/lifecycle/", nil},
	{"pkg/conf/", []string{"pkg/version/"}},
	{"pkg/version/", nil},
	{"pkg/phx/", []string{"pkg/channel/", "pkg/wsframe/"}},
	{"pkg/pump/", []string{"pkg/queue/"}},
	{"pkg/node/", []string{"pkg/", "proto/gen/skein/admin/", "proto/gen/skein/mesh/"}},
	{"pkg/daemon/", []string{"pkg/", "proto/gen/skein/admin/"}},
	{"pkg/kube/", []string{"pkg/version/"}},
	{"pkg/cluster/", []string{"pkg/kube/", "pkg/refusal/", "pkg/bubble/", "pkg/lifecycle/", "proto/gen/skein/mesh/"}},
	{"pkg/", []string{"pkg/"}},

	{"proto/gen/", []string{"proto/gen/"}},
	{"client/", []string{"proto/gen/"}},
	{"web/", nil},
	{"examples/", []string{"proto/gen/"}},
	{"tests/", []string{"services/", "pkg/", "proto/gen/", "web/"}},
}

func TestPackagesImportDownwardsOnly(t *testing.T) {
	for _, p := range list(t, "./...") {
		row := slices.IndexFunc(layers, func(l struct {
			from string
			may  []string
		},
		) bool {
			return strings.HasPrefix(p.path(), l.from)
		})
		if row < 0 {
			t.Errorf("%s is in no layer: add a row", p.path())
			continue
		}
		may := append(slices.Clone(layers[row].may), layers[row].from)
		for _, imported := range p.Imports {
			below, own := strings.CutPrefix(imported, module+"/")
			if own && !hasAnyPrefix(below+"/", may) {
				t.Errorf("%s must not import %s", p.path(), below)
			}
		}
	}
}

// pure packages decide: they do no I/O, so that a whole cluster of them runs in
// virtual time. Their tests may do what they like.
var pure = []string{
	"pkg/channel/", "pkg/grant/", "pkg/namespace/", "pkg/phx/", "pkg/queue/", "pkg/ring/", "pkg/wsframe/",
	"services/edge/hints/", "services/edge/hub/", "services/edge/session/", "services/router/exchange/",
	"services/presence/balance/", "services/presence/balance/simulate/", "services/presence/elect/", "services/presence/orders/",
}

func TestPurePackagesDoNoIO(t *testing.T) {
	outside := []string{"net/", "os/", "syscall/", "golang.org/x/sys/", "google.golang.org/grpc/", "github.com/gofiber/"}
	for _, p := range list(t, "./...") {
		if !slices.Contains(pure, p.path()) {
			continue
		}
		for _, imported := range p.Imports {
			if hasAnyPrefix(imported+"/", outside) {
				t.Errorf("%s decides and must not import %s", p.path(), imported)
			}
		}
	}
}

// heavy dependencies have one importer, so that one package knows their traps.
var heavy = []struct {
	dependency string
	importers  []string
}{
	{"github.com/hashicorp/", []string{"pkg/cluster/serf/", "pkg/cluster/clustertest/"}},
	{"github.com/gofiber/", []string{"services/edge/socket/"}},
	{"github.com/valyala/", []string{"services/edge/socket/"}},
	{"github.com/fasthttp/", []string{"services/edge/socket/"}},
	{"golang.org/x/sys/", []string{"services/edge/socket/", "cmd/skein/"}},
	{"github.com/prometheus/", []string{"pkg/telemetry/"}},
	{"go.opentelemetry.io/otel/sdk/", []string{"pkg/telemetry/"}},
	{"go.opentelemetry.io/otel/exporters/", []string{"pkg/telemetry/"}},
	{"go.opentelemetry.io/contrib/", []string{"pkg/rpc/"}},
	{"github.com/knadh/", []string{"pkg/conf/"}},
	{"go.yaml.in/", []string{"pkg/conf/"}},
	{"github.com/spf13/cobra/", []string{"cmd/skein/"}},
	{"github.com/spf13/pflag/", []string{"pkg/conf/", "cmd/skein/"}},
	{"charm.land/", []string{"cmd/skein/"}},
	{"github.com/golang-jwt/", []string{"pkg/token/"}},
	{"github.com/MicahParks/", []string{"pkg/token/"}},
	{"github.com/klauspost/compress/", []string{"pkg/wsframe/"}},
	{"github.com/pires/go-proxyproto/", []string{"services/edge/socket/"}},
	{"github.com/grpc-ecosystem/", []string{"services/router/httpapi/", "proto/gen/gateway/"}},
	{"gonum.org/", []string{"cmd/skein/plot/"}},
	{"k8s.io/", []string{"pkg/kube/", "services/presence/kubernetes/"}},
	{"github.com/fsnotify/", []string{"pkg/cluster/seeds/"}},
}

func TestHeavyDependenciesHaveOneImporter(t *testing.T) {
	for _, p := range list(t, "./...") {
		for _, imported := range p.Imports {
			for _, h := range heavy {
				if strings.HasPrefix(imported+"/", h.dependency) && !hasAnyPrefix(p.path(), h.importers) {
					t.Errorf("%s must not import %s: only %s may", p.path(), imported, h.importers)
				}
			}
		}
	}
}

// TestBinariesLinkOnlyTheirService looks at what a binary links in the end:
// an edge must not carry the gossip, a router must not carry the web server.
func TestBinariesLinkOnlyTheirService(t *testing.T) {
	var (
		gossip    = []string{"github.com/hashicorp/serf/", "github.com/hashicorp/memberlist/"}
		webServer = []string{"github.com/gofiber/", "github.com/valyala/fasthttp/", "github.com/fasthttp/"}
		terminal  = []string{"charm.land/", "github.com/spf13/cobra/"}
	)
	for binary, without := range map[string][]string{
		"cmd/skein-edge":     slices.Concat(gossip, terminal, []string{module + "/services/router/", module + "/services/presence/"}),
		"cmd/skein-router":   slices.Concat(webServer, terminal, []string{module + "/services/edge/", module + "/services/presence/", module + "/web/"}),
		"cmd/skein-presence": slices.Concat(webServer, terminal, []string{module + "/services/edge/", module + "/services/router/", module + "/web/"}),
	} {
		linked := list(t, "-deps", "./"+binary)
		for _, p := range linked {
			if hasAnyPrefix(p.ImportPath+"/", without) {
				t.Errorf("%s must not link %s", binary, p.ImportPath)
			}
		}
		if len(linked) < 2 {
			t.Errorf("%s links nothing", binary)
		}
	}
}

func hasAnyPrefix(s string, prefixes []string) bool {
	return slices.ContainsFunc(prefixes, func(prefix string) bool { return strings.HasPrefix(s, prefix) })
}
