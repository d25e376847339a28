// Package observability tests what an operator sees of a fleet: the traces that
// an OpenTelemetry Collector receives from real processes, and that the alerts,
// the dashboard and the runbook of deploy/observability fit the metrics that
// these processes show.
//
// The tests with processes have the build tag e2e and run what make build left
// in bin/; the collector is built from .ci/tools/collector.
package observability
