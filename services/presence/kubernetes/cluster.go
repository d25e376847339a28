package kubernetes

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/skein-mesh/skein/pkg/version"
)

// serviceAccount is the folder where Kubernetes shows a pod who it is.
const serviceAccount = "/var/run/secrets/kubernetes.io/serviceaccount"

// inCluster returns a client of the cluster that this process runs in.
func inCluster() (dynamic.Interface, error) {
	config, err := rest.InClusterConfig()
	if errors.Is(err, rest.ErrNotInCluster) {
		return nil, errors.New("kubernetes-deletion-cost: this is no pod, KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set")
	}
	if err != nil {
		return nil, fmt.Errorf("kubernetes-deletion-cost: %w; the pod needs automountServiceAccountToken", err)
	}
	return dial(config)
}

// ownNamespace returns the namespace of this pod, which the folder of its service
// account says.
func ownNamespace(folder string) (string, error) {
	namespace, err := os.ReadFile(filepath.Join(folder, "namespace")) //nolint:gosec // a constant but for tests
	if err != nil {
		return "", fmt.Errorf("kubernetes-namespace: the own one is not known, name one: %w", err)
	}
	return strings.TrimSpace(string(namespace)), nil
}

// dial returns a client that asks at most 20 times a second. It does not connect
// yet.
func dial(config *rest.Config) (dynamic.Interface, error) {
	config.UserAgent = "skein-presence/" + version.Version
	config.QPS, config.Burst = 20, 20
	config.WarningHandler = rest.NoWarnings{} // they are about what people write, not about this
	return dynamic.NewForConfig(config)
}
