package channel_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/skein-mesh/skein/pkg/channel"
)

func TestValidateTopic(t *testing.T) {
	for _, c := range []struct {
		name, topic string
		want        error
	}{
		{"plain", "room:42", nil},
		{"one byte", "x", nil},
		{"unicode", "raum:größe", nil},
		{"longest", strings.Repeat("t", channel.MaxTopicLen), nil},
		{"near the reserved one", "phoenix:1", nil},
		{"empty", "", channel.ErrTopic},
		{"too long", strings.Repeat("t", channel.MaxTopicLen+1), channel.ErrTopic},
		{"reserved", "phoenix", channel.ErrTopic},
		{"not UTF-8", "room:\xff", channel.ErrTopic},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := channel.ValidateTopic(c.topic); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

func TestValidateEvent(t *testing.T) {
	for _, c := range []struct {
		name, event string
		want        error
	}{
		{"plain", "new_msg", nil},
		{"presence", "presence_diff", nil},
		{"longest", strings.Repeat("e", channel.MaxEventLen), nil},
		{"empty", "", channel.ErrEvent},
		{"too long", strings.Repeat("e", channel.MaxEventLen+1), channel.ErrEvent},
		{"join", channel.EventJoin, channel.ErrEvent},
		{"reply", channel.EventReply, channel.ErrEvent},
		{"unknown but reserved", "phx_drain", channel.ErrEvent},
		{"not UTF-8", "\xc3", channel.ErrEvent},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := channel.ValidateEvent(c.event); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

func TestBroadcastValidate(t *testing.T) {
	long := strings.Repeat("t", channel.MaxBinaryTopicLen+1)
	for _, c := range []struct {
		name string
		b    channel.Broadcast
		want error
	}{
		{"text", channel.Broadcast{Topic: long, Event: "e"}, nil},
		{"binary", channel.Broadcast{Topic: long[1:], Event: "e", Binary: true}, nil},
		{"binary, topic too long for its frame", channel.Broadcast{Topic: long, Event: "e", Binary: true}, channel.ErrTopic},
		{"no topic", channel.Broadcast{Event: "e"}, channel.ErrTopic},
		{"no event", channel.Broadcast{Topic: "t"}, channel.ErrEvent},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := c.b.Validate(); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}
