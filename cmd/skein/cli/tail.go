package cli

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/skein-mesh/skein/pkg/channel"
	routerv1 "github.com/skein-mesh/skein/proto/gen/skein/router/v1"
)

func (a *app) tailCommand() *cobra.Command {
	prefix, count := false, 0
	cmd := &cobra.Command{
		Use:   "tail TOPIC",
		Short: "Print the messages of a topic as they come",
		Example: "  skein tail room:lobby\n" +
			"  skein tail --prefix room:\n" +
			"  skein tail --prefix '' -o json",
		Args: exactly("TOPIC"), ValidArgsFunction: a.completeTopics,
		RunE: func(cmd *cobra.Command, args []string) error {
			request := &routerv1.SubscribeRequest{Filter: &routerv1.SubscribeRequest_Prefix{Prefix: args[0]}}
			if !prefix {
				if err := channel.ValidateTopic(args[0]); err != nil {
					return usageError{cmd.CommandPath(), err}
				}
				request.Filter = &routerv1.SubscribeRequest_Topic{Topic: args[0]}
			}
			err := a.tail(cmd.Context(), request, count)
			if cmd.Context().Err() != nil {
				return nil //nolint:nilerr // ctrl-C is how one ends it
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&prefix, "prefix", false, "every topic that begins with TOPIC; '' is every topic")
	cmd.Flags().IntVar(&count, "count", 0, "end after so many messages; 0 goes on")
	return cmd
}

func (a *app) tail(ctx context.Context, request *routerv1.SubscribeRequest, count int) error {
	conn, err := a.router(ctx)
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // done with it
	stream, err := routerv1.NewRouterServiceClient(conn).Subscribe(ctx, request)
	if err != nil {
		return fmt.Errorf("subscribe through %s: %w", conn.Target(), plain(err))
	}
	for seen := 0; count == 0 || seen < count; {
		step, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return fmt.Errorf("%s ended the subscription: it may be restarting", conn.Target())
		}
		if err != nil {
			return fmt.Errorf("subscription through %s: %w", conn.Target(), plain(err))
		}
		switch kind := step.GetKind().(type) {
		case *routerv1.SubscribeResponse_Subscribed:
			fmt.Fprintf(a.Stderr, "Listening through %s; ctrl-C ends.\n", kind.Subscribed.GetRouter())
		case *routerv1.SubscribeResponse_Message:
			seen++
			if err := a.printMessage(kind.Message, time.Now()); err != nil {
				return err
			}
		}
	}
	return nil
}

// tailLine is one message in JSON output, which is one line each.
type tailLine struct {
	Time    time.Time       `json:"time"`
	Topic   string          `json:"topic"`
	Event   string          `json:"event"`
	Payload json.RawMessage `json:"payload,omitempty"`
	Binary  []byte          `json:"binary,omitempty"` // base64
}

func (a *app) printMessage(m *routerv1.Message, now time.Time) error {
	payload, isBinary := m.GetPayload().(*routerv1.Message_Binary)
	text := m.GetJson()
	if text == "" {
		text = "{}"
	}
	if !a.common.json() {
		if isBinary {
			text = fmt.Sprintf("(%s) %s", counted(len(payload.Binary), "byte"), base64.StdEncoding.EncodeToString(payload.Binary))
		}
		_, err := fmt.Fprintf(a.Stdout, "%s %s %s %s\n", now.Format("15:04:05.000"), printable(m.GetTopic()), printable(m.GetEvent()), printable(text))
		return err
	}
	line := tailLine{Time: now, Topic: m.GetTopic(), Event: m.GetEvent()}
	if isBinary {
		line.Binary = payload.Binary
	} else {
		line.Payload = json.RawMessage(text)
	}
	encoder := json.NewEncoder(a.Stdout)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(line); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return nil
}
