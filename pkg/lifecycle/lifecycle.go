// Package lifecycle runs a program's components and stops them in order.
package lifecycle

import (
	"context"
	"errors"
	"slices"
)

// A Component blocks in Run until ctx ends and returns only after every
// goroutine it started has exited.
type Component interface {
	Run(ctx context.Context) error
}

// Func is a function that is a [Component].
type Func func(ctx context.Context) error

// Run calls f.
func (f Func) Run(ctx context.Context) error { return f(ctx) }

// Run starts components in the given order. When ctx ends, or any component
// returns, it stops them last to first, waiting for each before the next, so a
// component may use the ones before it until the moment it returns. It returns
// the errors of all components; having been cancelled is not an error.
func Run(ctx context.Context, components ...Component) error {
	exited := make(chan struct{}, len(components))
	tasks := make([]*task, len(components))
	for i, c := range components {
		tasks[i] = start(context.WithoutCancel(ctx), c, exited)
	}
	select {
	case <-ctx.Done():
	case <-exited:
	}
	var errs []error
	for _, t := range slices.Backward(tasks) {
		errs = append(errs, t.stop())
	}
	return errors.Join(errs...)
}

type task struct {
	cancel context.CancelFunc
	result chan error
}

func start(ctx context.Context, c Component, exited chan<- struct{}) *task {
	ctx, cancel := context.WithCancel(ctx)
	t := &task{cancel, make(chan error, 1)}
	go func() {
		t.result <- c.Run(ctx)
		exited <- struct{}{}
	}()
	return t
}

func (t *task) stop() error {
	t.cancel()
	if err := <-t.result; !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}
