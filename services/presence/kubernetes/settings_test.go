package kubernetes

import (
	"log/slog"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/metric/noop"
)

func TestSettings(t *testing.T) {
	if err := Default().Validate(); err != nil {
		t.Error(err)
	}
	for _, good := range []Settings{
		{Namespace: "chat", Selector: "app=edge,tier in (a, b)"},
		{Selector: "app"},
	} {
		if err := good.Validate(); err != nil {
			t.Errorf("%+v: %v", good, err)
		}
	}
	err := Settings{Namespace: "Chat_1", Selector: "app=(edge"}.Validate()
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{`kubernetes-namespace: "Chat_1"`, "kubernetes-selector: "} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %s in\n%s", want, err)
		}
	}
	if err := (Settings{}).Validate(); err == nil || !strings.Contains(err.Error(), "required") {
		t.Errorf("every pod of the namespace: %v", err)
	}
}

func TestNew(t *testing.T) {
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	meter := noop.Meter{}
	off, err := New(Default(), nil, slog.New(slog.DiscardHandler), meter)
	if off != nil || err != nil {
		t.Errorf("off: got %v, %v", off, err)
	}
	on, err := New(Settings{DeletionCost: true, Selector: "a"}, nil, slog.New(slog.DiscardHandler), meter)
	if err != nil {
		t.Fatal(err)
	}
	if err := on.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "this is no pod") {
		t.Errorf("outside of a cluster: %v", err)
	}
}
