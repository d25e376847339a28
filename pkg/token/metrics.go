package token

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// counts are read when somebody looks.
type counts struct {
	outcomes                   [outcomeCount]atomic.Int64
	fileFailures, jwksFailures atomic.Int64
	fetched                    atomic.Int64 // when the JWKS was read last, in nanoseconds since 1970; 0 for never
}

func (c *counts) add(o outcome) { c.outcomes[o].Add(1) }

func (v *Verifier) observe(meter metric.Meter) error {
	verifications, err1 := meter.Int64ObservableCounter("skein.token.verifications",
		metric.WithDescription("tokens of clients that were checked, by outcome"))
	failures, err2 := meter.Int64ObservableCounter("skein.token.refresh_failures",
		metric.WithDescription("key files and JWKS that could not be read again"))
	keys, err3 := meter.Int64ObservableGauge("skein.token.keys",
		metric.WithDescription("keys that tokens are checked with"))
	age, err4 := meter.Float64ObservableGauge("skein.token.jwks_age", metric.WithUnit("s"),
		metric.WithDescription("time since the JWKS was fetched"))
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return err
	}
	file := metric.WithAttributes(attribute.String("reason", "file"))
	jwks := metric.WithAttributes(attribute.String("reason", "jwks"))
	_, err := meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		for i := range outcomeCount {
			o.ObserveInt64(verifications, v.counts.outcomes[i].Load(), metric.WithAttributes(attribute.Stringer("reason", i)))
		}
		o.ObserveInt64(failures, v.counts.fileFailures.Load(), file)
		o.ObserveInt64(failures, v.counts.jwksFailures.Load(), jwks)
		o.ObserveInt64(keys, int64(len(v.keys.Load().keys)))
		if at := v.counts.fetched.Load(); at != 0 {
			o.ObserveFloat64(age, time.Since(time.Unix(0, at)).Seconds())
		}
		return nil
	}, verifications, failures, keys, age)
	return err
}
