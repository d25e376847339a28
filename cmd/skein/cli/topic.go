package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/skein-mesh/skein/pkg/channel"
	routerv1 "github.com/skein-mesh/skein/proto/gen/skein/router/v1"
)

func (a *app) topicCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "topic TOPIC",
		Short: "Show who owns a topic, who would get a message now, and why",
		Args:  exactly("TOPIC"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := channel.ValidateTopic(args[0]); err != nil {
				return usageError{cmd.CommandPath(), err}
			}
			conn, err := a.router(cmd.Context())
			if err != nil {
				return err
			}
			defer conn.Close() //nolint:errcheck // done with it
			ctx, cancel := a.question(cmd.Context())
			defer cancel()
			info, err := routerv1.NewRouterServiceClient(conn).TopicInfo(ctx, &routerv1.TopicInfoRequest{Topic: args[0]})
			if err != nil {
				return fmt.Errorf("ask %s about %q: %w", conn.Target(), args[0], plain(err))
			}
			if a.common.json() {
				return printJSON(a.Stdout, newTopic(info))
			}
			printTopic(a.Stdout, newTopic(info))
			return nil
		},
	}
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
