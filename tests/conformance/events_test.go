package conformance

import (
	"context"
	"encoding/json"
	"strings"

	handlerv1 "github.com/skein-mesh/skein/proto/gen/skein/handler/v1"
)

// pushed is one event that the application has to answer.
type pushed struct {
	ctx     context.Context
	topic   string
	payload *handlerv1.Payload
	assigns assigns
}

// answer of an event.
type answer = handlerv1.PushResponse

// events are those of the recorded application; any other one crashes the
// channel, as a function clause that is missing does in Phoenix.
var events = map[string]func(p pushed) (*answer, error){
	"echo":        func(p pushed) (*answer, error) { return reply("ok", p.payload), nil },
	"echo_error":  func(p pushed) (*answer, error) { return reply("error", p.payload), nil },
	"reply_err":   func(pushed) (*answer, error) { return reply("error", nil), nil },
	"reply_ok":    func(pushed) (*answer, error) { return reply("ok", nil), nil },
	"echo_custom": func(p pushed) (*answer, error) { return reply("weird_status", p.payload), nil },
	"noreply":     func(pushed) (*answer, error) { return &answer{}, nil },
	"slow_echo": func(p pushed) (*answer, error) {
		return reply("ok", p.payload), pause(p.ctx, p.payload)
	},
	"push_me": func(p pushed) (*answer, error) { return push(&answer{}, "pushed", p.payload), nil },
	"push_me_reply": func(p pushed) (*answer, error) {
		return push(reply("ok", nil), "pushed", p.payload), nil
	},
	"shout":      func(p pushed) (*answer, error) { return shout(p, false) },
	"shout_from": func(p pushed) (*answer, error) { return shout(p, true) },
	"shout_other": func(p pushed) (*answer, error) { // to the topic that the payload names
		var other struct {
			Topic string `json:"topic"`
		}
		if err := json.Unmarshal(p.payload.GetJson(), &other); err != nil {
			return nil, crash("topic: %v", err)
		}
		out := broadcast(reply("ok", nil), "shout", p.payload)
		out.Broadcasts[0].Topic = other.Topic
		return out, nil
	},
	"intercept": func(p pushed) (*answer, error) {
		return broadcast(&answer{}, "intercepted", with(p.payload, "seen_by", nil)), nil
	},
	"bin_echo": func(p pushed) (*answer, error) { return reply("ok", opaque(p.payload.GetBinary())), nil },
	"bin_push": func(p pushed) (*answer, error) {
		return push(&answer{}, "bin_pushed", opaque(p.payload.GetBinary())), nil
	},
	"bin_shout": func(p pushed) (*answer, error) {
		return broadcast(reply("ok", nil), "bin_shouted", opaque(p.payload.GetBinary())), nil
	},
	"crash":     func(pushed) (*answer, error) { return nil, crash("this event crashes") },
	"bad_reply": func(pushed) (*answer, error) { return reply("ok", text("{")), nil },
	"exit_shutdown": func(pushed) (*answer, error) {
		return &answer{Stop: true}, nil
	},
	"exit_reply": func(p pushed) (*answer, error) {
		out := reply("ok", p.payload)
		out.Stop = true
		return out, nil
	},
	"exit_abnormal": func(pushed) (*answer, error) { return nil, crash("an abnormal end") },
	"whoami": func(p pushed) (*answer, error) {
		return reply("ok", text(`{"info":"%%{auth_token: \"%s\"}"}`, p.assigns.Token)), nil
	},
	"update": func(p pushed) (*answer, error) {
		out := reply("ok", nil)
		out.Presence = &handlerv1.PushResponse_Track{Track: &handlerv1.Person{Key: p.assigns.Key, Meta: p.payload.GetJson()}}
		return out, nil
	},
	"untrack": func(pushed) (*answer, error) {
		out := reply("ok", nil)
		out.Presence = &handlerv1.PushResponse_Untrack{Untrack: true}
		return out, nil
	},
}

// fixture are the events of Phoenix's own tests.
var fixture = map[string]func(p pushed) (*answer, error){
	"new_msg": func(p pushed) (*answer, error) {
		return broadcast(reply("ok", nil), "new_msg", with(p.payload, "transport", ":"+p.assigns.Transport)), nil
	},
	"boom": func(pushed) (*answer, error) { return nil, crash("boom") },
	"binary_event": func(p pushed) (*answer, error) {
		data := append([]byte{}, p.payload.GetBinary()...)
		return push(reply("ok", opaque(append(data, 3, 4))), "binary_event", opaque([]byte{0, 1})), nil
	},
	"bin": func(p pushed) (*answer, error) {
		return broadcast(reply("ok", nil), "bin_ack", text(`{"size":%d}`, len(p.payload.GetBinary()))), nil
	},
	"slow": func(p pushed) (*answer, error) { return reply("ok", nil), pause(p.ctx, p.payload) },
}

// Push answers an event.
func (*app) Push(ctx context.Context, r *handlerv1.PushRequest) (*handlerv1.PushResponse, error) {
	a, err := assignsOf(r.GetCaller())
	if err != nil {
		return nil, crash("assigns: %v", err)
	}
	known := events
	if a.fixture() {
		known = fixture
	}
	event := known[r.GetEvent()]
	if event == nil {
		return nil, crash("no event %q", r.GetEvent())
	}
	return event(pushed{ctx, r.GetCaller().GetTopic(), r.GetPayload(), a})
}

func reply(status string, payload *handlerv1.Payload) *answer {
	return &answer{Reply: &handlerv1.Reply{Status: status, Response: payload}}
}

func push(out *answer, name string, payload *handlerv1.Payload) *answer {
	out.Pushes = append(out.Pushes, &handlerv1.Event{Name: name, Payload: payload})
	return out
}

func broadcast(out *answer, name string, payload *handlerv1.Payload) *answer {
	out.Broadcasts = append(out.Broadcasts, &handlerv1.Broadcast{Event: &handlerv1.Event{Name: name, Payload: payload}})
	return out
}

// shout broadcasts a payload. Phoenix raises when it is no map.
func shout(p pushed, notSender bool) (*answer, error) {
	if !strings.HasPrefix(string(p.payload.GetJson()), "{") {
		return nil, crash("a broadcast of no map")
	}
	out := broadcast(reply("ok", nil), "shout", p.payload)
	out.Broadcasts[0].NotSender = notSender
	return out, nil
}

// with adds a member to a payload; one that is no object stays as it is.
func with(payload *handlerv1.Payload, name string, value any) *handlerv1.Payload {
	members := map[string]any{}
	if json.Unmarshal(payload.GetJson(), &members) != nil {
		return payload
	}
	members[name] = value
	return text("%s", encode(members))
}
