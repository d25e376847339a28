package kubernetes

import (
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation"
)

// Settings say whether presence tells Kubernetes which edge to delete first, and
// where the pods of edges are.
type Settings struct {
	DeletionCost bool   `conf:"kubernetes-deletion-cost" usage:"keep controller.kubernetes.io/pod-deletion-cost of each edge's pod at its number of connections, so that scale-down takes the emptiest"`
	Namespace    string `conf:"kubernetes-namespace" usage:"namespace of the edges' pods; empty for this pod's own"`
	Selector     string `conf:"kubernetes-selector" usage:"label selector of the edges' pods"`
}

// Default leaves Kubernetes alone.
func Default() Settings {
	return Settings{Selector: "app.kubernetes.io/name=skein-edge"}
}

// Validate reports everything that is wrong with s.
func (s Settings) Validate() error {
	var errs []error
	if s.Namespace != "" {
		for _, problem := range validation.IsDNS1123Label(s.Namespace) {
			errs = append(errs, fmt.Errorf("kubernetes-namespace: %q: %s", s.Namespace, problem))
		}
	}
	if _, err := labels.Parse(s.Selector); err != nil {
		errs = append(errs, fmt.Errorf("kubernetes-selector: %w", err))
	}
	if s.Selector == "" {
		errs = append(errs, errors.New("kubernetes-selector: a label of the edges' pods is required, such as app=edge"))
	}
	return errors.Join(errs...)
}
