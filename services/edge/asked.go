package edge

import (
	"context"

	"github.com/skein-mesh/skein/services/edge/admit"
	"github.com/skein-mesh/skein/services/edge/callout"
	"github.com/skein-mesh/skein/services/edge/handshake"
)

// asked is the handler that decides about sockets. It implements
// [admit.Backend].
type asked struct{ *callout.Callout }

// Connect implements [admit.Backend].
func (a asked) Connect(ctx context.Context, r *handshake.Request, claims []byte) (admit.Answer, error) {
	answer, err := a.Callout.Connect(ctx, r, claims)
	return admit.Answer{
		User: answer.User, Assigns: answer.Assigns, Refused: answer.Refused, Status: answer.Status, Reason: answer.Reason,
	}, err
}
