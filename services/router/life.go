package router

import (
	"context"
	"time"

	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/skein-mesh/skein/pkg/cluster"
	meshv1 "github.com/skein-mesh/skein/proto/gen/skein/mesh/v1"
)

// Bounds of a router's first and last steps.
const (
	JoinTime  = 3 * time.Second // joining: for edges and peers to connect
	LeaveTime = 5 * time.Second // leaving: for edges and peers to go elsewhere
	knowTime  = time.Second     // leaving: for the exchange to know
	gossip    = 2 * time.Second // leaving: for the news to go round
	step      = 20 * time.Millisecond
)

// live takes the router from joining to ready, and when ctx ends to leaving.
func (r *Router) live(ctx context.Context) error {
	log := r.deps.Telemetry.Log
	began := time.Now()
	if !r.await(ctx, JoinTime, func() bool { return r.deps.Joined() && r.mesh.Prepared() }) && ctx.Err() == nil {
		log.WarnContext(ctx, "some edge or router is not connected, ready without", "waited", time.Since(began), "suspects", r.exchange.Suspects())
	}
	if ctx.Err() == nil {
		if err := r.become(cluster.StateReady); err != nil {
			return err
		}
		r.setReady(true)
		log.InfoContext(ctx, "ready", "after", time.Since(began))
		<-ctx.Done()
	}
	r.setReady(false)
	return r.leave(context.WithoutCancel(ctx))
}

// leave lets the others take over and goes when nobody needs this router any
// more.
func (r *Router) leave(ctx context.Context) error {
	log := r.deps.Telemetry.Log
	began := time.Now()
	r.backends.Leave()
	r.edges.Leave()
	if err := r.become(cluster.StateLeaving); err != nil {
		return err
	}
	r.await(ctx, knowTime, func() bool { return r.stateInView() == meshv1.State_STATE_LEAVING && r.edges.Idle() })
	r.exchange.HandOver()
	if r.await(ctx, LeaveTime, r.exchange.Left) {
		log.InfoContext(ctx, "left", "after", time.Since(began))
	} else {
		log.WarnContext(ctx, "leaving although somebody may still publish here", "after", time.Since(began))
	}
	r.backends.Refuse()
	r.await(ctx, knowTime, r.backends.Idle)
	if m, ok := r.deps.Membership.(interface {
		Leave(ctx context.Context) error
	}); ok {
		ctx, cancel := context.WithTimeout(ctx, gossip)
		defer cancel()
		if err := m.Leave(ctx); err != nil {
			log.WarnContext(ctx, "the others find out later", "error", err)
		}
	}
	return nil
}

func (r *Router) become(s cluster.State) error { return r.deps.Membership.SetState(s) }

func (r *Router) setReady(yes bool) {
	r.ready.Store(yes)
	status := healthv1.HealthCheckResponse_NOT_SERVING
	if yes {
		status = healthv1.HealthCheckResponse_SERVING
	}
	r.health.SetServingStatus("", status)
}

// stateInView is the state of this router as the exchange knows it.
func (r *Router) stateInView() meshv1.State {
	self := r.deps.Membership.Self().ID
	for _, m := range r.exchange.View().GetMembers() {
		if m.GetRole() == meshv1.Role_ROLE_ROUTER && m.GetId() == self {
			return m.GetState()
		}
	}
	return meshv1.State_STATE_UNSPECIFIED
}

// await waits until done, at most for limit, and reports whether it is done.
func (r *Router) await(ctx context.Context, limit time.Duration, done func() bool) bool {
	for end := time.Now().Add(limit); ; {
		if done() {
			return true
		}
		if time.Now().After(end) || !sleep(ctx, step) {
			return false
		}
	}
}
