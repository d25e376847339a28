package admin

import (
	"cmp"
	"context"
	"fmt"

	"github.com/skein-mesh/skein/pkg/channel"
	adminv1 "github.com/skein-mesh/skein/proto/gen/skein/admin/v1"
)

// Topics implements skein.admin.v1.
func (s *Server) Topics(_ context.Context, req *adminv1.TopicsRequest) (*adminv1.TopicsResponse, error) {
	switch {
	case len(req.GetPrefix()) > channel.MaxTopicLen:
		return nil, bad("prefix", fmt.Sprintf("must be at most %d bytes, got %d", channel.MaxTopicLen, len(req.GetPrefix())))
	case req.GetLimit() > maxLimit:
		return nil, bad("limit", fmt.Sprintf("must be at most %d, got %d", maxLimit, req.GetLimit()))
	}
	topics, more := s.exchange.Topics(req.GetPrefix(), int(cmp.Or(req.GetLimit(), defaultLimit)))
	return &adminv1.TopicsResponse{Topics: topics, More: more}, nil
}
