package admit

import (
	"context"
	"errors"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// outcome is what became of a request. It is the closed set of the attribute
// "reason" of skein.edge.admissions.
type outcome int

const (
	admitted           outcome = iota
	originRefused              // a page of another origin
	tokenMissing               // the mount needs a token
	tokenInvalid               // likewise
	tokenExpired               // likewise
	tokenUnavailable           // likewise, and its key cannot be looked up
	handlerRefused             // the handler says no
	handlerUnavailable         // the handler says nothing
	outcomes                   // how many there are
)

// String is the value of the metric's attribute.
func (o outcome) String() string {
	return [outcomes]string{
		"admitted", "origin_refused", "token_missing", "token_invalid", "token_expired", "token_unavailable",
		"handler_refused", "handler_unavailable",
	}[o]
}

// counts are read when somebody looks.
type counts struct {
	outcomes [outcomes]atomic.Int64
	ignored  atomic.Int64 // tokens that are no good, where none is needed
	slowed   atomic.Int64 // refusals that had to wait
}

func (c *counts) add(o outcome) { c.outcomes[o].Add(1) }

func (c *counts) observe(mount string, meter metric.Meter) error {
	admissions, err1 := meter.Int64ObservableCounter("skein.edge.admissions",
		metric.WithDescription("requests for a socket that were decided about, by outcome"))
	ignored, err2 := meter.Int64ObservableCounter("skein.edge.admissions.tokens_ignored",
		metric.WithDescription("tokens that are no good, where none is needed"))
	slowed, err3 := meter.Int64ObservableCounter("skein.edge.admissions.slowed",
		metric.WithDescription("refusals that had to wait for their answer"))
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	at := attribute.String("mount", mount)
	_, err := meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		for i := range outcomes {
			o.ObserveInt64(admissions, c.outcomes[i].Load(), metric.WithAttributes(at, attribute.Stringer("reason", i)))
		}
		o.ObserveInt64(ignored, c.ignored.Load(), metric.WithAttributes(at))
		o.ObserveInt64(slowed, c.slowed.Load(), metric.WithAttributes(at))
		return nil
	}, admissions, ignored, slowed)
	return err
}
