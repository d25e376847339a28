package node

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/skein-mesh/skein/pkg/telemetry"
	meshv1 "github.com/skein-mesh/skein/proto/gen/skein/mesh/v1"
)

// Sampling is which messages begin a trace now.
func (n *Node) Sampling() *meshv1.Sampling {
	s := n.telemetry.Sampling
	told := &meshv1.Sampling{Exported: n.telemetry.Tracer.Records(), Ratio: s.Ratio()}
	for _, r := range s.Topics() {
		topics := &meshv1.TopicRatio{Topics: r.Topics, Ratio: r.Ratio}
		if !r.Until.IsZero() {
			topics.Until = timestamppb.New(r.Until)
		}
		told.Topics = append(told.Topics, topics)
	}
	return told
}

// SetSampling changes which messages begin a trace, and logs that.
func (n *Node) SetSampling(ctx context.Context, req *meshv1.SetSampling) (*meshv1.Sampling, error) {
	d, err := CheckSampling(req)
	if err != nil {
		return nil, err
	}
	log := n.telemetry.Log.With("topics", req.GetTopics(), "by", req.GetBy())
	if req.Ratio == nil {
		n.telemetry.Sampling.Reset(req.GetTopics())
		log.WarnContext(ctx, "sampling of topics is as configured")
		return n.Sampling(), nil
	}
	if err := n.telemetry.Sampling.Set(req.GetTopics(), req.GetRatio(), d); err != nil {
		return nil, err
	}
	log.WarnContext(ctx, "sampling of topics changed", "ratio", req.GetRatio(), "for", d.String())
	return n.Sampling(), nil
}

// CheckSampling says what is wrong with a change of what begins a trace; 0
// milliseconds mean five minutes.
func CheckSampling(req *meshv1.SetSampling) (time.Duration, error) {
	if err := (telemetry.TopicRatio{Topics: req.GetTopics(), Ratio: req.GetRatio()}).Validate(); err != nil {
		return 0, err
	}
	return lasting("another ratio", req.GetForMs())
}
