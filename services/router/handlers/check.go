package handlers

import (
	"bytes"
	"encoding/json"
	"fmt"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	"github.com/skein-mesh/skein/pkg/channel"
	handlerv1 "github.com/skein-mesh/skein/proto/gen/skein/handler/v1"
)

// Bounds of what a backend may answer.
const (
	MaxAnswer  = 8 << 20 // bytes of a whole answer
	MaxPayload = 1 << 20 // bytes of one payload, of assigns and of meta
	MaxEvents  = 1000    // pushes of one answer, and as many broadcasts
	MaxStatus  = 255     // bytes of a reply's status: one length byte in the V2 binary frame
	MaxName    = 1024    // bytes of a user and of a person's key
	MaxReason  = 4096    // bytes of the reason of a refusal
)

// answerError is what makes no sense in an answer. It names the field and never
// repeats a payload.
type answerError struct{ field, problem string }

// Error implements error.
func (b answerError) Error() string { return b.field + ": " + b.problem }

func bad(field, format string, args ...any) error {
	return answerError{field, fmt.Sprintf(format, args...)}
}

// first returns the first error of checks that it runs in order.
func first(checks ...func() error) error {
	for _, check := range checks {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func checkConnect(_ *handlerv1.ConnectRequest, resp *handlerv1.ConnectResponse) error {
	code := resp.GetRefusal().GetHttpStatus()
	if code != 0 && (code < 400 || code > 599) {
		return bad("refusal.http_status", "must be 400 to 599, got %d", code)
	}
	return first(
		func() error { return checkLen("refusal.reason", len(resp.GetRefusal().GetReason()), MaxReason) },
		func() error { return checkLen("user", len(resp.GetUser()), MaxName) },
		func() error { return checkObject("assigns", resp.GetAssigns()) },
	)
}

func checkJoin(req *handlerv1.JoinRequest, resp *handlerv1.JoinResponse) error {
	topic := req.GetCaller().GetTopic()
	return first(
		func() error { return checkSize(resp) },
		func() error { return checkPayload("reply", topic, resp.GetReply()) },
		func() error { return checkObject("assigns", resp.GetAssigns()) },
		func() error { return checkPushes(topic, resp.GetPushes()) },
		func() error { return checkPerson("presence", resp.GetPresence()) },
	)
}

func checkPush(req *handlerv1.PushRequest, resp *handlerv1.PushResponse) error {
	topic := req.GetCaller().GetTopic()
	return first(
		func() error { return checkSize(resp) },
		func() error { return checkLen("reply.status", len(resp.GetReply().GetStatus()), MaxStatus) },
		func() error { return checkPayload("reply.response", topic, resp.GetReply().GetResponse()) },
		func() error { return checkObject("assigns", resp.GetAssigns()) },
		func() error { return checkPushes(topic, resp.GetPushes()) },
		func() error { return checkBroadcasts(topic, resp.GetBroadcasts()) },
		func() error { return checkPerson("track", resp.GetTrack()) },
	)
}

func checkSize(answer proto.Message) error {
	if n := proto.Size(answer); n > MaxAnswer {
		return bad("all of it", "must be at most %d bytes, got %d", MaxAnswer, n)
	}
	return nil
}

func checkLen(field string, length, most int) error {
	if length > most {
		return bad(field, "must be at most %d bytes, got %d", most, length)
	}
	return nil
}

// checkObject accepts a JSON object, or nothing.
func checkObject(field string, text []byte) error {
	if len(text) == 0 {
		return nil
	}
	if err := checkJSON(field, text); err != nil {
		return err
	}
	if bytes.TrimLeft(text, " \t\r\n")[0] != '{' {
		return bad(field, "must be a JSON object")
	}
	return nil
}

func checkJSON(field string, text []byte) error {
	switch {
	case len(text) > MaxPayload:
		return checkLen(field, len(text), MaxPayload)
	case !utf8.Valid(text): // which a text frame must be
		return bad(field, "must be UTF-8")
	case !json.Valid(text):
		return bad(field, "must be JSON text")
	}
	return nil
}

// checkPayload checks what goes to a client of the topic.
func checkPayload(field, topic string, p *handlerv1.Payload) error {
	switch kind := p.GetKind().(type) {
	case *handlerv1.Payload_Json:
		return checkJSON(field+".json", kind.Json)
	case *handlerv1.Payload_Binary:
		if len(topic) > channel.MaxBinaryTopicLen {
			return bad(field+".binary", "must be JSON in a topic of more than %d bytes", channel.MaxBinaryTopicLen)
		}
		return checkLen(field+".binary", len(kind.Binary), MaxPayload)
	}
	return nil
}

func checkPushes(topic string, pushes []*handlerv1.Event) error {
	if len(pushes) > MaxEvents {
		return bad("pushes", "must be at most %d, got %d", MaxEvents, len(pushes))
	}
	for i, e := range pushes {
		if err := checkEvent(fmt.Sprintf("pushes[%d]", i), topic, e); err != nil {
			return err
		}
	}
	return nil
}

func checkBroadcasts(topic string, broadcasts []*handlerv1.Broadcast) error {
	if len(broadcasts) > MaxEvents {
		return bad("broadcasts", "must be at most %d, got %d", MaxEvents, len(broadcasts))
	}
	for i, b := range broadcasts {
		field, to := fmt.Sprintf("broadcasts[%d]", i), topic
		if b.GetTopic() != "" {
			if to = b.GetTopic(); channel.ValidateTopic(to) != nil {
				return bad(field, "%v", channel.ValidateTopic(to))
			}
		}
		if err := checkEvent(field+".event", to, b.GetEvent()); err != nil {
			return err
		}
	}
	return nil
}

func checkEvent(field, topic string, e *handlerv1.Event) error {
	if err := channel.ValidateEvent(e.GetName()); err != nil {
		return bad(field+".name", "%v", err)
	}
	return checkPayload(field+".payload", topic, e.GetPayload())
}

func checkPerson(field string, p *handlerv1.Person) error {
	if p == nil {
		return nil
	}
	if n := len(p.GetKey()); n == 0 || n > MaxName {
		return bad(field+".key", "must be 1 to %d bytes, got %d", MaxName, n)
	}
	return checkObject(field+".meta", p.GetMeta())
}
