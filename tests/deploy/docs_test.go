//go:build e2e

package deploy

import (
	"context"
	"log/slog"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/skein-mesh/skein/pkg/tlsfiles"
)

// kubectl keeps in $CLUSTER what it is told: a folder for each Secret, the
// overlay that is applied, and the pod that is run.
const kubectl = `#!/bin/sh
while [ $# -gt 0 ]; do
  case $1 in
    generic) secret=$CLUSTER/$2; mkdir -p "$secret"; shift ;;
    --from-literal=*) pair=${1#*=}; printf %s "${pair#*=}" >"$secret/${pair%%=*}" ;;
    --from-file=*) pair=${1#*=}; cp "${pair#*=}" "$secret/${pair%%=*}" ;;
    -k) cp "$2/kustomization.yaml" "$CLUSTER/" ;;
    --overrides=*) printf %s "${1#*=}" >"$CLUSTER/pod.json" ;;
  esac
  shift
done
`

// followed runs the commands of docs/deploy.md about Kubernetes as they stand
// there, and returns where things are after that.
func followed(t *testing.T) (cluster string) {
	t.Helper()
	text := read(t, filepath.Join(root, "docs/deploy.md"))
	_, section, _ := strings.Cut(text, "\n## Kubernetes\n")
	section, _, _ = strings.Cut(section, "\n## ")
	script := "set -eu\n"
	for _, block := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(section, -1) {
		script += block[1]
	}
	dir, programs := t.TempDir(), t.TempDir()
	cluster = t.TempDir()
	if err := os.WriteFile(filepath.Join(programs, "kubectl"), []byte(kubectl), 0o700); err != nil {
		t.Fatal(err)
	}
	checkout, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	for link, to := range map[string]string{
		filepath.Join(dir, "skein"):      checkout,
		filepath.Join(programs, "skein"): filepath.Join(checkout, "bin/skein"),
	} {
		if err := os.Symlink(to, link); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-c", script)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "CLUSTER="+cluster, "PATH="+programs+":"+os.Getenv("PATH"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return cluster
}

// TestKubernetesDocs follows the documentation: it makes every Secret that pods
// need, and with the files of these the services reach each other by address.
func TestKubernetesDocs(t *testing.T) {
	cluster, f := followed(t), build(t, nil)
	for name, keys := range f.secrets() {
		for _, key := range keys {
			if len(read(t, filepath.Join(cluster, name, key))) == 0 {
				t.Errorf("Secret %s has nothing as %s", name, key)
			}
		}
	}
	identities := map[string]map[string]string{"skein-operator": operator(t, cluster)}
	for name := range f.deployments {
		identities[name] = f.environment(name)
	}
	for _, server := range []string{"skein-router", "skein-presence"} {
		address := serve(t, load(t, cluster, server, identities[server]))
		for client, env := range identities {
			if err := ask(t, address, load(t, cluster, client, env)); err != nil {
				t.Errorf("%s asks %s: %v", client, server, err)
			}
		}
	}
}

// TestKubernetesDocsOverlay builds the overlay of the documentation.
func TestKubernetesDocsOverlay(t *testing.T) {
	overlay := read(t, filepath.Join(followed(t), "kustomization.yaml"))
	dir := t.TempDir()
	overlay = strings.ReplaceAll(overlay, "../skein/deploy", relative(t, dir, "deploy"))
	if err := os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte(overlay), 0o600); err != nil {
		t.Fatal(err)
	}
	var f fleet
	f.certificates, f.issuers = map[string]certificate{}, map[string]issuer{}
	f.decode(t, kustomize(t, dir))
	for name, d := range f.deployments {
		if image := d.Spec.Template.Spec.Containers[0].Image; image != "registry.example/"+name+":1.2.3" {
			t.Errorf("%s runs %s", name, image)
		}
	}
	if len(f.deployments) != 3 || len(f.certificates) == 0 {
		t.Errorf("there are %q with %q", slices.Sorted(maps.Keys(f.deployments)), slices.Sorted(maps.Keys(f.certificates)))
	}
}

// operator returns the environment of the pod that the command skein runs in.
func operator(t *testing.T, cluster string) map[string]string {
	t.Helper()
	var pod corev1.Pod
	if err := strict(read(t, filepath.Join(cluster, "pod.json")), &pod); err != nil {
		t.Fatal(err)
	}
	c := pod.Spec.Containers[0]
	if pod.Labels["app.kubernetes.io/name"] != "skein" || c.Name != "skein" ||
		pod.Spec.Volumes[0].Secret.SecretName != "skein-operator-tls" || c.VolumeMounts[0].MountPath != mounted {
		t.Errorf("%+v", pod)
	}
	env := map[string]string{}
	for _, e := range c.Env {
		env[e.Name] = e.Value
	}
	return env
}

// mounted is where pods have the Secrets of their certificates.
const mounted = "/etc/skein/tls"

// load reads the certificate of a service, with the settings of its pods.
func load(t *testing.T, cluster, name string, env map[string]string) *tlsfiles.Files {
	t.Helper()
	file := func(setting string) string {
		return strings.Replace(env[setting], mounted, filepath.Join(cluster, name+"-tls"), 1)
	}
	settings := tlsfiles.TLS{
		Cert: file("SKEIN_TLS_CERT"), Key: file("SKEIN_TLS_KEY"), CA: file("SKEIN_TLS_CA"), Name: env["SKEIN_TLS_SERVER_NAME"],
	}
	if err := settings.Validate(); err != nil {
		t.Fatal(err)
	}
	files, err := tlsfiles.Load(settings, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// serve answers health checks of clients with a certificate until the test ends,
// and returns where, as host:port with an IP address.
func serve(t *testing.T, files *tlsfiles.Files) string {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.Creds(files.ServerCredentials(true, nil)))
	healthv1.RegisterHealthServer(server, health.NewServer())
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return listener.Addr().String()
}

// ask makes one call.
func ask(t *testing.T, address string, files *tlsfiles.Files) error {
	t.Helper()
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(files.ClientCredentials(nil)))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }() // nothing is under way
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	_, err = healthv1.NewHealthClient(conn).Check(ctx, &healthv1.HealthCheckRequest{})
	return err
}
