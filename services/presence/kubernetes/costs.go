// Package kubernetes tells Kubernetes which edge is the cheapest to delete: it
// keeps the annotation controller.kubernetes.io/pod-deletion-cost of each edge's
// pod near its number of connections, so that the scale-down of a Deployment
// takes the emptiest, and before that one that drains already.
//
// The elected instance does this, alone and with one request at a time. What it
// wrote it reads from the pods, so one that takes over needs to know nothing. It
// writes only what is worth it: each write of an annotation is an update of the
// pod that everybody who watches pods has to take in.
//
// It is best effort. Nothing of the fleet waits for Kubernetes, and while that
// cannot be asked the costs stay as they are.
package kubernetes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/metric"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/skein-mesh/skein/pkg/kube"
	"github.com/skein-mesh/skein/pkg/lifecycle"
	presencev1 "github.com/skein-mesh/skein/proto/gen/skein/presence/v1"
)

// Annotation is the one that a ReplicaSet looks at when it has to delete pods: of
// those that are equally ready, the one with the least goes first.
const Annotation = "controller.kubernetes.io/pod-deletion-cost"

// Interval is the least time between two writes to one pod.
const Interval = 10 * time.Second

const (
	requestTimeout = 10 * time.Second // the client tries again itself within it, if it is told to wait
	pageSize       = 250              // pods are some 10 KB each
)

// Fleet returns the edges as they report now, which must not be changed, and
// whether this instance plans for them. It must not block.
type Fleet func() (edges []*presencev1.Edge, elected bool)

// New returns what keeps the costs of the pods in the cluster that this process
// runs in; nil if settings, which must be valid, do not ask for it. It does no
// I/O: whether this is a cluster is found out by Run, whose error says if not.
func New(settings Settings, fleet Fleet, log *slog.Logger, meter metric.Meter) (lifecycle.Component, error) {
	if !settings.DeletionCost {
		return nil, nil
	}
	m, err := newMetrics(meter)
	if err != nil {
		return nil, fmt.Errorf("kubernetes metrics: %w", err)
	}
	return lifecycle.Func(func(ctx context.Context) error {
		client, err := kube.InCluster()
		if err != nil {
			return fmt.Errorf("kubernetes-deletion-cost: %w", err)
		}
		if settings.Namespace == "" {
			if settings.Namespace, err = kube.Namespace(); err != nil {
				return fmt.Errorf("kubernetes-namespace: %w", err)
			}
		}
		return newCosts(client, settings, fleet, log, m).Run(ctx)
	}), nil
}

// costs keeps the costs of the pods of one namespace.
type costs struct {
	// Static after construction.
	pods     dynamic.ResourceInterface
	settings Settings
	fleet    Fleet
	log      *slog.Logger
	metrics  *metrics

	// Owned by Run.
	failing   failed // what was logged last; empty once all is well
	strangers string // ids that were logged last
}

// newCosts returns what keeps the costs in settings.Namespace, which must be
// known. Pods are asked for without Kubernetes' own Go types, which would double
// the size of the binary.
func newCosts(client dynamic.Interface, settings Settings, fleet Fleet, log *slog.Logger, m *metrics) *costs {
	pods := client.Resource(schema.GroupVersionResource{Version: "v1", Resource: "pods"}).Namespace(settings.Namespace)
	return &costs{pods: pods, settings: settings, fleet: fleet, log: log, metrics: m}
}

// Run looks at the pods until ctx ends, and waits for [Interval] after each time.
func (c *costs) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(Interval):
		}
		if edges, elected := c.fleet(); elected {
			c.tell(ctx, c.keep(ctx, edges))
		} else {
			c.tellStrangers(ctx, nil) // not ours to tell any more
		}
	}
}

// keep writes the costs that are worth it. A pod that cannot be written does not
// keep it from the others, unless they cannot be either.
func (c *costs) keep(ctx context.Context, edges []*presencev1.Edge) error {
	pods, err := c.list(ctx)
	if err != nil {
		return fmt.Errorf("list pods: %w", err)
	}
	byPod, strangers := match(pods, edges)
	c.tellStrangers(ctx, strangers)
	var errs []error
	for _, i := range slices.Sorted(maps.Keys(byPod)) {
		value := cost(byPod[i])
		if !worth(pods[i].annotation, value) {
			continue
		}
		if _, elected := c.fleet(); !elected {
			break // another may have begun
		}
		err := c.write(ctx, pods[i].name, value)
		switch {
		case err == nil:
			c.metrics.written.Add(ctx, 1)
		case apierrors.IsNotFound(err): // deleted a moment ago
		default:
			errs = append(errs, fmt.Errorf("patch pod %s: %w", pods[i].name, err))
		}
		if err != nil && !ofOnePod(err) {
			break
		}
	}
	return errors.Join(errs...)
}

// ofOnePod says whether an error of writing a pod says nothing about others.
func ofOnePod(err error) bool {
	return apierrors.IsNotFound(err) || apierrors.IsConflict(err) || apierrors.IsInvalid(err)
}

// list returns the pods of the edges that are not on their way out.
func (c *costs) list(ctx context.Context) ([]pod, error) {
	var found []pod
	for options := (metav1.ListOptions{LabelSelector: c.settings.Selector, Limit: pageSize}); ; {
		page, err := c.page(ctx, options)
		if err != nil {
			return nil, err
		}
		for _, p := range page.Items {
			if p.GetDeletionTimestamp() == nil && !ended(p) {
				found = append(found, pod{p.GetName(), status(p, "podIP"), p.GetAnnotations()[Annotation]})
			}
		}
		if options.Continue = page.GetContinue(); options.Continue == "" {
			return found, nil
		}
	}
}

func (c *costs) page(ctx context.Context, options metav1.ListOptions) (*unstructured.UnstructuredList, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	return c.pods.List(ctx, options)
}

// ended says whether a pod runs no more. It may have lost its address to another.
func ended(p unstructured.Unstructured) bool {
	phase := status(p, "phase")
	return phase == "Succeeded" || phase == "Failed"
}

// status returns a field of a pod's status, empty if it has none.
func status(p unstructured.Unstructured, field string) string {
	value, _, _ := unstructured.NestedString(p.Object, "status", field)
	return value
}

// write changes the annotation of a pod and nothing else.
func (c *costs) write(ctx context.Context, name string, cost int32) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"annotations": map[string]string{Annotation: strconv.FormatInt(int64(cost), 10)},
	}})
	if err != nil {
		return err
	}
	_, err = c.pods.Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: "skein-presence"})
	return err
}

// tell counts what went wrong, and logs it when the reason is another than before.
func (c *costs) tell(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return // cut short
	}
	if err == nil {
		if c.failing != "" {
			c.log.InfoContext(ctx, "costs of pods are written again")
		}
		c.failing = ""
		return
	}
	why := classify(err)
	c.metrics.fail(ctx, why)
	if c.failing == why {
		return
	}
	c.failing = why
	attributes := []any{"error", err}
	if why == failedForbidden {
		attributes = append(attributes, "remedy", fmt.Sprintf(
			"grant the service account of presence the verbs list and patch on pods in namespace %s, with a Role and a RoleBinding", c.settings.Namespace))
	}
	c.log.WarnContext(ctx, "costs of pods are not written", attributes...)
}

// tellStrangers logs edges without a pod when they are others than before.
func (c *costs) tellStrangers(ctx context.Context, ids []string) {
	c.metrics.strangers.Record(ctx, int64(len(ids)))
	now := strings.Join(ids, " ")
	if now == c.strangers {
		return
	}
	c.strangers = now
	if len(ids) > 0 {
		c.log.WarnContext(ctx, "no pod found for some edges", "edges", now, "namespace", c.settings.Namespace, "selector", c.settings.Selector,
			"remedy", "give each edge its pod's name as id (metadata.name by the downward API), or select its pod with kubernetes-selector")
	}
}
