// Package kube talks to the API of the Kubernetes cluster that this process
// runs in, as the service account of its pod.
//
// Pods are asked for without Kubernetes' own Go types, which would double the
// size of a binary. Nothing here starts a goroutine or watches.
package kube

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/skein-mesh/skein/pkg/version"
)

// serviceAccount is the folder where Kubernetes shows a pod who it is.
const serviceAccount = "/var/run/secrets/kubernetes.io/serviceaccount"

// pageSize is how many pods one answer holds at most: they are some 10 KB each.
const pageSize = 250

// InCluster returns a client of the cluster that this process runs in. It reads
// the files that Kubernetes gave the pod and does not connect yet.
func InCluster() (dynamic.Interface, error) {
	config, err := rest.InClusterConfig()
	if errors.Is(err, rest.ErrNotInCluster) {
		return nil, errors.New("this is no pod: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set")
	}
	if err != nil {
		return nil, fmt.Errorf("%w; the pod needs automountServiceAccountToken", err)
	}
	return Client(config)
}

// Client returns a client that asks at most 20 times a second. It does not
// connect yet.
func Client(config *rest.Config) (dynamic.Interface, error) {
	config.UserAgent = "skein/" + version.Version
	config.QPS, config.Burst = 20, 20
	config.WarningHandler = rest.NoWarnings{} // they are about what people write, not about this
	return dynamic.NewForConfig(config)
}

// Namespace returns the namespace of this pod.
func Namespace() (string, error) { return namespaceIn(serviceAccount) }

func namespaceIn(folder string) (string, error) {
	namespace, err := os.ReadFile(filepath.Join(folder, "namespace")) //nolint:gosec // a constant but for tests
	if err != nil {
		return "", fmt.Errorf("the own namespace is not known, name one: %w", err)
	}
	return strings.TrimSpace(string(namespace)), nil
}

// CheckNamespace reports why text cannot name a namespace.
func CheckNamespace(text string) error {
	var errs []error
	for _, problem := range validation.IsDNS1123Label(text) {
		errs = append(errs, fmt.Errorf("namespace %.100q: %s", text, problem))
	}
	return errors.Join(errs...)
}

// CheckSelector reports why text does not select pods by their labels.
func CheckSelector(text string) error {
	if strings.TrimSpace(text) == "" {
		return errors.New("a selector of pods is missing, such as app.kubernetes.io/name=skein-router")
	}
	if _, err := labels.Parse(text); err != nil {
		return fmt.Errorf("selector %.200q: %w", text, err)
	}
	return nil
}

// Pods asks for the pods of one namespace.
type Pods struct{ resource dynamic.ResourceInterface }

// NewPods returns what asks client for the pods of namespace.
func NewPods(client dynamic.Interface, namespace string) *Pods {
	return &Pods{client.Resource(schema.GroupVersionResource{Version: "v1", Resource: "pods"}).Namespace(namespace)}
}

// Addresses returns the IP addresses of the pods that selector selects and that
// are ready or about to be: they have an address and are not on their way out.
// The answer comes from the API server's memory, so it may be a moment old.
func (p *Pods) Addresses(ctx context.Context, selector string) ([]string, error) {
	var addresses []string
	options := metav1.ListOptions{LabelSelector: selector, Limit: pageSize, ResourceVersion: "0"}
	for {
		page, err := p.resource.List(ctx, options)
		if err != nil {
			return nil, fmt.Errorf("list pods: %w", err)
		}
		for _, pod := range page.Items {
			if address := status(pod, "podIP"); address != "" && !leaving(pod) {
				addresses = append(addresses, address)
			}
		}
		next := page.GetContinue()
		if next == "" {
			return addresses, nil
		}
		options.Continue, options.ResourceVersion = next, "" // the continuation says which version
	}
}

// leaving says whether a pod stops or has stopped. It may have lost its address
// to another.
func leaving(pod unstructured.Unstructured) bool {
	phase := status(pod, "phase")
	return pod.GetDeletionTimestamp() != nil || phase == "Succeeded" || phase == "Failed"
}

// status returns a field of a pod's status, empty if it has none.
func status(pod unstructured.Unstructured, field string) string {
	value, _, _ := unstructured.NestedString(pod.Object, "status", field)
	return value
}

// Forbidden says whether err is that the service account may not do what was
// asked, or is not known.
func Forbidden(err error) bool { return apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) }
