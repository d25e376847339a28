package session_test

import (
	"encoding/json"
	"fmt"

	"github.com/skein-mesh/skein/pkg/wsframe"
)

// observer reads what one client gets and holds it against the protocol. Refs
// in its scenarios are unique per client, and a join's ref is its join_ref.
type observer struct {
	joined   map[string]string // topic to join_ref
	replaced map[string]string // topic to join_ref whose phx_close is due next
	answered map[string]int    // ref to replies
	heard    map[string]int    // event to broadcasts
	closable bool              // a handler or a backend may end a channel at any time
}

func newObserver() *observer {
	return &observer{
		joined: make(map[string]string), replaced: make(map[string]string),
		answered: make(map[string]int), heard: make(map[string]int),
	}
}

type reply struct {
	Status   string
	Response struct{ Reason string }
}

// read takes the next frame. sent says what kind of message had a ref.
func (o *observer) read(f wsframe.Frame, sent map[string]string) error {
	var parts [5]json.RawMessage
	if err := json.Unmarshal(f.Payload(), &parts); err != nil {
		return fmt.Errorf("%s: %w", f.Payload(), err)
	}
	var text [4]string // null becomes ""
	for i := range text {
		if err := json.Unmarshal(parts[i], &text[i]); err != nil {
			return fmt.Errorf("%s: %w", f.Payload(), err)
		}
	}
	joinRef, ref, topic, event := text[0], text[1], text[2], text[3]
	if due := o.replaced[topic]; due != "" && (event != "phx_close" || joinRef != due) {
		return fmt.Errorf("%s: the close of channel %s was due", f.Payload(), due)
	}
	switch event {
	case "phx_reply":
		var r reply
		if err := json.Unmarshal(parts[4], &r); err != nil {
			return err
		}
		return o.reply(joinRef, ref, topic, r, sent[ref])
	case "phx_close", "phx_error":
		return o.end(joinRef, ref, topic, event)
	}
	if o.joined[topic] == "" || joinRef != "" || ref != "" {
		return fmt.Errorf("%s: broadcast while %q is joined", f.Payload(), o.joined[topic])
	}
	o.heard[event]++
	return nil
}

func (o *observer) reply(joinRef, ref, topic string, r reply, kind string) error {
	if o.answered[ref]++; o.answered[ref] > 1 || kind == "" || kind == "stale" {
		return fmt.Errorf("reply %d to %q %s", o.answered[ref], kind, ref)
	}
	unmatched := r.Response.Reason == "unmatched topic"
	switch {
	case kind == "join" && r.Status == "ok":
		o.replaced[topic], o.joined[topic] = o.joined[topic], ref
	case kind == "join" && !unmatched && r.Response.Reason != "too many channels joined":
		o.replaced[topic] = o.joined[topic] // it ended before this join was decided
		delete(o.joined, topic)
	case kind == "push" && !unmatched && o.joined[topic] != joinRef:
		return fmt.Errorf("reply to push %s of channel %s while %q is joined", ref, joinRef, o.joined[topic])
	case kind == "leave" && o.joined[topic] != "":
		if o.joined[topic] != joinRef {
			return fmt.Errorf("leave %s of channel %s while %q is joined", ref, joinRef, o.joined[topic])
		}
		o.replaced[topic] = joinRef // its close is due, and nothing before
		delete(o.joined, topic)
	}
	return nil
}

func (o *observer) end(joinRef, ref, topic, event string) error {
	switch {
	case joinRef == "" || joinRef != ref:
		return fmt.Errorf("%s with join_ref %q and ref %q", event, joinRef, ref)
	case event == "phx_close" && o.replaced[topic] == joinRef:
		delete(o.replaced, topic)
	case (event == "phx_error" || o.closable) && o.joined[topic] == joinRef:
		delete(o.joined, topic)
	default:
		return fmt.Errorf("%s of %s while %q is joined", event, joinRef, o.joined[topic])
	}
	return nil
}
