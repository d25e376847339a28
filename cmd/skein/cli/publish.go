package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/skein-mesh/skein/pkg/channel"
	routerv1 "github.com/skein-mesh/skein/proto/gen/skein/router/v1"
)

// maxPayload bounds what publish reads from its standard input.
const maxPayload = 8 << 20

func (a *app) publishCommand() *cobra.Command {
	binary := false
	cmd := &cobra.Command{
		Use:   "publish TOPIC EVENT [JSON]",
		Short: "Send one message to every subscriber of a topic",
		Long: "Sends one message to every subscriber of a topic and prints the router that ordered it.\n" +
			"The payload is a JSON object; \"-\" reads it from standard input, and without one it is {}.",
		Example: "  skein publish room:lobby new_msg '{\"body\":\"hello\"}'\n" +
			"  jq -c . message.json | skein publish room:lobby new_msg -",
		Args: exactly("TOPIC", "EVENT", "JSON?"), ValidArgsFunction: a.completeTopics,
		RunE: func(cmd *cobra.Command, args []string) error {
			message, err := a.message(args, binary)
			if err != nil {
				return usageError{cmd.CommandPath(), err}
			}
			return a.publish(cmd, message)
		},
	}
	cmd.Flags().BoolVar(&binary, "binary", false, "send the payload as it is, in a binary frame")
	return cmd
}

func (a *app) publish(cmd *cobra.Command, message *routerv1.Message) error {
	conn, err := a.router(cmd.Context())
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // done with it
	ctx, cancel := a.question(cmd.Context())
	defer cancel()
	resp, err := routerv1.NewRouterServiceClient(conn).Publish(ctx, &routerv1.PublishRequest{Message: message})
	if err != nil {
		return fmt.Errorf("publish %q on %q: %w", message.GetEvent(), message.GetTopic(), plain(err))
	}
	if a.common.json() {
		return printJSON(a.Stdout, map[string]string{"topic": message.GetTopic(), "event": message.GetEvent(), "owner": resp.GetOwner()})
	}
	fmt.Fprintf(a.Stdout, "Published %q on %q; ordered by %s.\n", message.GetEvent(), message.GetTopic(), resp.GetOwner())
	return nil
}

// message checks the arguments before anybody is asked: every mistake at once.
func (a *app) message(args []string, binary bool) (*routerv1.Message, error) {
	message := &routerv1.Message{Topic: args[0], Event: args[1]}
	errs := []error{channel.ValidateTopic(args[0]), channel.ValidateEvent(args[1])}
	if len(args) > 2 {
		payload, err := a.payload(args[2])
		if err == nil && !binary {
			err = checkObject(payload)
		}
		if binary {
			message.Payload = &routerv1.Message_Binary{Binary: payload}
		} else {
			message.Payload = &routerv1.Message_Json{Json: string(payload)}
		}
		errs = append(errs, err)
	}
	return message, errors.Join(errs...)
}

func (a *app) payload(arg string) ([]byte, error) {
	if arg != "-" {
		return []byte(arg), nil
	}
	payload, err := io.ReadAll(io.LimitReader(a.Stdin, maxPayload+1))
	if err != nil {
		return nil, fmt.Errorf("read the payload: %w", err)
	}
	if len(payload) > maxPayload {
		return nil, fmt.Errorf("payload: more than %d bytes", maxPayload)
	}
	return payload, nil
}

// checkObject wants a JSON object: Phoenix clients expect nothing else.
func checkObject(payload []byte) error {
	var object map[string]json.RawMessage
	err := json.Unmarshal(payload, &object)
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &syntax):
		return fmt.Errorf("payload: not JSON: %w at byte %d", err, syntax.Offset)
	case err != nil || object == nil:
		return fmt.Errorf("payload: must be a JSON object such as {\"body\":\"hello\"}, got %.40s", bytes.TrimSpace(payload))
	case !utf8.Valid(payload):
		return errors.New("payload: not UTF-8")
	}
	return nil
}
