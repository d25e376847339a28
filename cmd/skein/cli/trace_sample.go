package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/skein-mesh/skein/pkg/channel"
	adminv1 "github.com/skein-mesh/skein/proto/gen/skein/admin/v1"
	meshv1 "github.com/skein-mesh/skein/proto/gen/skein/mesh/v1"
)

func (a *app) traceSampleCommand() *cobra.Command {
	node, ratio, d := "", 1.0, 5*time.Minute
	cmd := &cobra.Command{
		Use:   "sample TOPIC",
		Short: "Trace messages of a topic for a while, wherever they enter the fleet",
		Long: "Tells every router and edge which share of the messages of a topic begins a trace, for a while; then what is\n" +
			"configured counts again. A topic with a star at its end means all that begin so; the longest that matches\n" +
			"counts. Exit code 1 means that some process did not take it.",
		Example: "  skein trace sample room:lobby --for 5m\n" +
			"  skein trace sample 'room:*' --ratio 0.1 --for 1h\n" +
			"  skein trace sample room:lobby --node edge-1",
		Args: exactly("TOPIC"), ValidArgsFunction: a.completeTopics,
		RunE: func(cmd *cobra.Command, args []string) error {
			errs := []error{channel.ValidateTopic(args[0]), checkFor(d)}
			if !(ratio >= 0 && ratio <= 1) { // NaN is neither
				errs = append(errs, fmt.Errorf("ratio: must be 0 to 1, got %v", ratio))
			}
			if err := errors.Join(errs...); err != nil {
				return usageError{cmd.CommandPath(), err}
			}
			return a.setSampling(cmd.Context(), node, &adminv1.SetSamplingRequest{
				Topics: args[0], Ratio: &ratio, ForMs: uint64(d.Milliseconds()), //nolint:gosec // positive
			})
		},
	}
	cmd.Flags().Float64Var(&ratio, "ratio", ratio, "share of messages that begin a trace, 0 to 1")
	cmd.Flags().DurationVar(&d, "for", d, "how long it counts")
	a.nodeFlag(cmd, &node)
	return cmd
}

func (a *app) traceUnsampleCommand() *cobra.Command {
	node := ""
	cmd := &cobra.Command{
		Use:     "unsample TOPIC",
		Short:   "Trace messages of a topic as configured again",
		Example: "  skein trace unsample room:lobby",
		Args:    exactly("TOPIC"), ValidArgsFunction: a.completeTopics,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := channel.ValidateTopic(args[0]); err != nil {
				return usageError{cmd.CommandPath(), err}
			}
			return a.setSampling(cmd.Context(), node, &adminv1.SetSamplingRequest{Topics: args[0]})
		},
	}
	a.nodeFlag(cmd, &node)
	return cmd
}

func (a *app) traceSampledCommand() *cobra.Command {
	var w watcher
	node := ""
	cmd := &cobra.Command{
		Use:   "sampled",
		Short: "Show which share of messages begins a trace, at every router and edge",
		Args:  exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.show(cmd.Context(), w, func(ctx context.Context) (shown, error) {
				s, err := a.sampling(ctx, node, func(ctx context.Context, c adminv1.AdminServiceClient, id string) (*meshv1.Sampling, error) {
					resp, err := c.Node(ctx, &adminv1.NodeRequest{Node: id})
					return resp.GetNode().GetSampling(), err
				})
				return shown{s, s.print}, err
			})
		},
	}
	a.nodeFlag(cmd, &node)
	w.flags(cmd)
	return cmd
}

func (a *app) nodeFlag(cmd *cobra.Command, node *string) {
	cmd.Flags().StringVar(node, "node", "", "only this router or edge")
	_ = cmd.RegisterFlagCompletionFunc("node", func(cmd *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
		return a.completeNodes(cmd, nil, begun)
	})
}

// setSampling changes the sampling and shows what counts then.
func (a *app) setSampling(ctx context.Context, node string, change *adminv1.SetSamplingRequest) error {
	s, err := a.sampling(ctx, node, func(ctx context.Context, c adminv1.AdminServiceClient, id string) (*meshv1.Sampling, error) {
		resp, err := c.SetSampling(ctx, &adminv1.SetSamplingRequest{
			Node: id, Topics: change.GetTopics(), Ratio: change.Ratio, ForMs: change.GetForMs(),
		})
		return resp.GetSampling(), err
	})
	if err != nil {
		return err
	}
	if err := a.showOnce(shown{s, s.print}); err != nil {
		return err
	}
	if slices.ContainsFunc(s.Nodes, func(n nodeSampling) bool { return n.Problem != "" }) {
		return errFindings
	}
	return nil
}

// sampling asks every router and edge, or one node, for its sampling.
func (a *app) sampling(
	ctx context.Context, node string, ask func(ctx context.Context, c adminv1.AdminServiceClient, id string) (*meshv1.Sampling, error),
) (sampling, error) {
	s := sampling{}
	conn, all, err := a.processes(ctx)
	if err != nil {
		return s, err
	}
	defer conn.Close() //nolint:errcheck // done with it
	if all, err = choose(all, node); err != nil {
		return s, err
	}
	for _, p := range all {
		s.Nodes = append(s.Nodes, nodeSampling{Node: p.id, Topics: []topicSampling{}})
	}
	errs := a.askEach(ctx, conn, all, func(ctx context.Context, i int, c adminv1.AdminServiceClient) error {
		told, err := ask(ctx, c, all[i].id)
		if err == nil && told == nil {
			err = errors.New("its version does not tell")
		}
		s.Nodes[i] = s.Nodes[i].with(told)
		return err
	})
	for i, err := range errs {
		if err != nil {
			s.Nodes[i].Problem = plain(err).Error()
		}
	}
	return s, nil
}

// choose keeps those where messages enter, or the one that is meant; what nobody
// is called is taken for an edge.
func choose(all []process, node string) ([]process, error) {
	if node == "" {
		return slices.DeleteFunc(all, func(p process) bool { return p.role == meshv1.Role_ROLE_PRESENCE }), nil
	}
	i := slices.IndexFunc(all, func(p process) bool { return p.id == node })
	switch {
	case i < 0:
		return []process{{id: node}}, nil
	case all[i].role == meshv1.Role_ROLE_PRESENCE:
		return nil, fmt.Errorf("%s is a presence instance: messages enter the fleet at routers and edges", node)
	}
	return all[i : i+1], nil
}

// sampling is which messages begin a trace, in JSON output.
type sampling struct {
	Nodes []nodeSampling `json:"nodes"`
}

type nodeSampling struct {
	Node     string          `json:"node"`
	Exported bool            `json:"exported"` // it has somewhere to send traces
	Ratio    float64         `json:"ratio"`    // of topics without their own
	Topics   []topicSampling `json:"topics"`   // in the order in which they match
	Problem  string          `json:"problem,omitempty"`
}

type topicSampling struct {
	Topics string     `json:"topics"`
	Ratio  float64    `json:"ratio"`
	Until  *time.Time `json:"until,omitempty"` // when what is configured counts again
}

// with adds what the node says, which is nil for nothing.
func (n nodeSampling) with(told *meshv1.Sampling) nodeSampling {
	n.Exported, n.Ratio = told.GetExported(), told.GetRatio()
	for _, t := range told.GetTopics() {
		topics := topicSampling{Topics: t.GetTopics(), Ratio: t.GetRatio()}
		if t.GetUntil() != nil {
			until := t.GetUntil().AsTime().Local()
			topics.Until = &until
		}
		n.Topics = append(n.Topics, topics)
	}
	return n
}

func (s sampling) print(w io.Writer) {
	rows := [][]any{}
	var mute []string
	for _, n := range s.Nodes {
		if n.Problem != "" {
			continue
		}
		if !n.Exported {
			mute = append(mute, printable(n.Node))
		}
		rows = append(rows, n.rows()...)
	}
	if len(rows) > 0 {
		printTable(w, []string{"node", "topics", "ratio", "until"}, rows)
	}
	if len(mute) > 0 {
		fmt.Fprintf(w, "No trace begins at %s: start with --otlp-endpoint to send traces somewhere.\n", strings.Join(mute, ", "))
	}
	for _, n := range s.Nodes {
		if n.Problem != "" {
			fmt.Fprintf(w, "Failed at %s: %s\n", printable(n.Node), printable(n.Problem))
		}
	}
}

func (n nodeSampling) rows() [][]any {
	var rows [][]any
	for _, t := range n.Topics {
		until := "-"
		if t.Until != nil {
			until = t.Until.Format(time.TimeOnly)
		}
		rows = append(rows, []any{printable(n.Node), printable(t.Topics), t.Ratio, until})
	}
	return append(rows, []any{printable(n.Node), "(all others)", n.Ratio, "-"})
}
