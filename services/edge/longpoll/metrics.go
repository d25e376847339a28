package longpoll

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/skein-mesh/skein/pkg/wsframe"
)

// cause says why a session ended. It is the closed set of the attribute "reason"
// of skein.longpoll.ends.
type cause int

const (
	causeSilent   cause = iota // not polled for 1.5 windows
	causeKicked                // disconnected by a backend or an operator
	causeInternal              // not Phoenix's protocol, or an error of ours
	causeSlow                  // the client polls too slowly for what it gets
	causePolicy                // a limit or rule of the operator
	causeRestart               // drain or rebalance
	causes                     // how many there are
)

// String is the value of the metric's attribute.
func (c cause) String() string {
	return [...]string{"silent", "kicked", "internal", "slow", "policy", "restart"}[c]
}

// status is what a poll of a session that ended so is answered, see the
// package's doc.
func (c cause) status() int {
	switch c {
	case causeSilent, causeKicked, causeInternal:
		return http.StatusGone
	default:
		return http.StatusInternalServerError
	}
}

func causeOf(code wsframe.Code) cause {
	switch code {
	case wsframe.CodeGoingAway:
		return causeKicked
	case wsframe.CodePolicy:
		return causePolicy
	case wsframe.CodeRestart:
		return causeRestart
	case wsframe.CodeTryAgain:
		return causeSlow
	default:
		return causeInternal
	}
}

// outcome is what a request was answered. It is the closed set of the attribute
// "outcome" of skein.longpoll.requests.
type outcome int

const (
	outcomeOpened    outcome = iota // a new session
	outcomeMessages                 // a GET got some
	outcomeEmpty                    // a GET got none
	outcomePublished                // a POST was taken in
	outcomeRefused                  // 403, 400 or another refusal of a new session
	outcomeGone                     // no such session, for a POST
	outcomeEnded                    // the session ended, or its edge is out of reach
	outcomeTimeout                  // the session was not ready for a POST within the window
	outcomeTooMuch                  // a POST was too large, or one too many
	outcomeDraining                 // 503
	outcomes                        // how many there are
)

// String is the value of the metric's attribute.
func (o outcome) String() string {
	return [...]string{
		"opened", "messages", "empty", "published", "refused", "gone", "ended", "timeout", "too_much", "draining",
	}[o]
}

func outcomeOf(status uint32, publish bool) outcome {
	switch status {
	case http.StatusOK:
		if publish {
			return outcomePublished
		}
		return outcomeMessages
	case http.StatusNoContent:
		return outcomeEmpty
	case http.StatusGone:
		return outcomeGone
	case http.StatusRequestTimeout:
		return outcomeTimeout
	case http.StatusRequestEntityTooLarge, http.StatusTooManyRequests:
		return outcomeTooMuch
	default:
		return outcomeEnded
	}
}

// drop says why a message did not reach a client. It is the closed set of the
// attribute "reason" of skein.longpoll.drops.
type drop int

const (
	dropSlow      drop = iota // the client polls too slowly
	dropNotPolled             // the session ended before it was polled
	dropBinary                // a binary frame that is not of the protocol
	drops                     // how many there are
)

// String is the value of the metric's attribute.
func (d drop) String() string { return [...]string{"slow", "not_polled", "binary"}[d] }

// counters are read when somebody looks.
type counters struct {
	open     atomic.Int64 // sessions whose handler was not told of an end
	ended    atomic.Int64 // of them, those that have ended
	opened   atomic.Uint64
	forwards atomic.Int64
	requests [outcomes]atomic.Int64
	ends     [causes]atomic.Int64
	dropped  [drops]atomic.Int64
}

func (c *counters) register(meter metric.Meter) (metric.Registration, error) {
	open, err1 := meter.Int64ObservableGauge("skein.longpoll.sessions", metric.WithDescription("sessions now"))
	forwards, err2 := meter.Int64ObservableCounter("skein.longpoll.forwards",
		metric.WithDescription("requests passed on to the edge that holds their session"))
	requests, err3 := meter.Int64ObservableCounter("skein.longpoll.requests",
		metric.WithDescription("requests of clients, by what they were answered"))
	ends, err4 := meter.Int64ObservableCounter("skein.longpoll.ends", metric.WithDescription("sessions that ended, by reason"))
	dropped, err5 := meter.Int64ObservableCounter("skein.longpoll.drops",
		metric.WithDescription("messages that did not reach their client, by reason"))
	if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
		return nil, fmt.Errorf("long-poll metrics: %w", err)
	}
	r, err := meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		o.ObserveInt64(open, c.open.Load())
		o.ObserveInt64(forwards, c.forwards.Load())
		observe(o, requests, "outcome", c.requests[:], func(i int) string { return outcome(i).String() })
		observe(o, ends, "reason", c.ends[:], func(i int) string { return cause(i).String() })
		observe(o, dropped, "reason", c.dropped[:], func(i int) string { return drop(i).String() })
		return nil
	}, open, forwards, requests, ends, dropped)
	if err != nil {
		return nil, fmt.Errorf("long-poll metrics: %w", err)
	}
	return r, nil
}

func observe(o metric.Observer, c metric.Int64Observable, key string, values []atomic.Int64, name func(int) string) {
	for i := range values {
		o.ObserveInt64(c, values[i].Load(), metric.WithAttributes(attribute.String(key, name(i))))
	}
}
