package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/skein-mesh/skein/pkg/channel"
	routerv1 "github.com/skein-mesh/skein/proto/gen/skein/router/v1"
)

func (a *app) topicCommand() *cobra.Command {
	var w watcher
	cmd := &cobra.Command{
		Use:   "topic TOPIC",
		Short: "Show who owns a topic, who would get a message now, and why",
		Args:  exactly("TOPIC"), ValidArgsFunction: a.completeTopics,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := channel.ValidateTopic(args[0]); err != nil {
				return usageError{cmd.CommandPath(), err}
			}
			return a.show(cmd.Context(), w, func(ctx context.Context) (shown, error) {
				t, err := a.topicInfo(ctx, args[0])
				return shown{t, func(out io.Writer) { printTopic(out, t) }}, err
			})
		},
	}
	w.flags(cmd)
	return cmd
}

func (a *app) topicInfo(ctx context.Context, name string) (topic, error) {
	conn, err := a.router(ctx)
	if err != nil {
		return topic{}, err
	}
	defer conn.Close() //nolint:errcheck // done with it
	ctx, cancel := a.question(ctx)
	defer cancel()
	info, err := routerv1.NewRouterServiceClient(conn).TopicInfo(ctx, &routerv1.TopicInfoRequest{Topic: name})
	if err != nil {
		return topic{}, fmt.Errorf("ask %s about %q: %w", conn.Target(), name, plain(err))
	}
	return newTopic(info), nil
}

type topic struct {
	Topic     string     `json:"topic"`
	Owner     string     `json:"owner"`
	View      string     `json:"view"`
	Receivers []receiver `json:"receivers"`
}

type receiver struct {
	ID     string `json:"id"`
	Reason string `json:"reason"`
}

func newTopic(info *routerv1.TopicInfoResponse) topic {
	t := topic{info.GetTopic(), info.GetOwner(), view(info.GetView()), []receiver{}}
	for _, r := range info.GetReceivers() {
		t.Receivers = append(t.Receivers, receiver{r.GetId(), words(r.GetReason(), "REASON_")})
	}
	return t
}

// why explains a reason.
func why(reason string) string {
	switch reason {
	case "row":
		return "this edge has subscribers of the topic"
	case "flood":
		return "this edge has not announced its topics under the current view yet"
	case "subscription":
		return "a backend subscribes to the topic through this router"
	}
	return "unknown to this version of the tool"
}

func printTopic(w io.Writer, t topic) {
	fmt.Fprintf(w, "Topic %q is owned by %s in view %s.\n", t.Topic, t.Owner, t.View)
	if len(t.Receivers) == 0 {
		fmt.Fprintln(w, "Nobody would get a message now: no edge has subscribers and no backend listens.")
		return
	}
	fmt.Fprintf(w, "A message published now would be sent to %s:\n\n", counted(len(t.Receivers), "receiver"))
	rows := [][]any{}
	for _, r := range t.Receivers {
		rows = append(rows, []any{r.ID, r.Reason, why(r.Reason)})
	}
	printTable(w, []string{"receiver", "reason", "because"}, rows)
}
