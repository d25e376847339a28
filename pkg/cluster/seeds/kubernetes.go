package seeds

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/skein-mesh/skein/pkg/kube"
)

// kubernetes asks the API for pods.
type kubernetes struct {
	// Static after construction.
	namespace string // empty for this pod's own
	selector  string
	port      uint16
	connect   func(namespace string) (lister, error)

	// Owned by the goroutine that asks.
	pods lister // nil until it was connected
}

// lister lists the addresses of pods.
type lister interface {
	Addresses(ctx context.Context, selector string) ([]string, error)
}

// parseKubernetes takes [NAMESPACE/]SELECTOR[:PORT]. A slash may also stand in
// the key of a label, behind a domain: a namespace has no dot.
func parseKubernetes(text string, port uint16) (*kubernetes, error) {
	k := &kubernetes{selector: text, port: port, connect: inCluster}
	var errs []error
	if selector, number, found := strings.Cut(text, ":"); found {
		var err error
		k.port, err = parsePort(number)
		k.selector, errs = selector, append(errs, err)
	}
	if namespace, selector, found := strings.Cut(k.selector, "/"); found && !strings.ContainsAny(namespace, ".=!(), ") {
		k.namespace, k.selector = namespace, selector
		errs = append(errs, each(kube.CheckNamespace(namespace))...)
	}
	return k, errors.Join(append(errs, kube.CheckSelector(k.selector))...)
}

func inCluster(namespace string) (lister, error) {
	client, err := kube.InCluster()
	if err != nil {
		return nil, err
	}
	if namespace == "" {
		if namespace, err = kube.Namespace(); err != nil {
			return nil, err
		}
	}
	return kube.NewPods(client, namespace), nil
}

// Addresses implements [Strategy].
func (k *kubernetes) Addresses(ctx context.Context) ([]string, error) {
	if k.pods == nil {
		pods, err := k.connect(k.namespace)
		if err != nil {
			return nil, err
		}
		k.pods = pods
	}
	ips, err := k.pods.Addresses(ctx, k.selector)
	if kube.Forbidden(err) {
		return nil, fmt.Errorf("%w; give the pod's service account the verb list on pods, with a Role and a RoleBinding", err)
	}
	if err != nil {
		return nil, err
	}
	addresses := make([]string, 0, len(ips))
	for _, ip := range ips {
		addresses = append(addresses, net.JoinHostPort(ip, strconv.Itoa(int(k.port))))
	}
	return addresses, nil
}
