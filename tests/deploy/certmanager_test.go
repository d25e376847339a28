//go:build e2e

package deploy

import (
	"slices"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
)

// certManager is the API of cert-manager, whose own types would bring a second
// Kubernetes API with them.
const certManager = "cert-manager.io/v1"

// certificate is what is used of cert-manager's Certificate.
//
//nolint:tagliatelle // cert-manager's names
type certificate struct {
	metav1.TypeMeta `json:",inline"`
	Metadata        metav1.ObjectMeta `json:"metadata"`
	Spec            struct {
		SecretName  string          `json:"secretName"`
		CommonName  string          `json:"commonName"`
		IsCA        bool            `json:"isCA"`
		DNSNames    []string        `json:"dnsNames"`
		Usages      []string        `json:"usages"`
		Duration    metav1.Duration `json:"duration"`
		RenewBefore metav1.Duration `json:"renewBefore"`
		PrivateKey  struct {
			Algorithm      string `json:"algorithm"`
			Size           int    `json:"size"`
			RotationPolicy string `json:"rotationPolicy"`
		} `json:"privateKey"`
		IssuerRef struct {
			Group string `json:"group"`
			Kind  string `json:"kind"`
			Name  string `json:"name"`
		} `json:"issuerRef"`
	} `json:"spec"`
}

// issuer is what is used of cert-manager's Issuer.
//
//nolint:tagliatelle // cert-manager's names
type issuer struct {
	metav1.TypeMeta `json:",inline"`
	Metadata        metav1.ObjectMeta `json:"metadata"`
	Spec            struct {
		SelfSigned *struct{} `json:"selfSigned"`
		CA         *struct {
			SecretName string `json:"secretName"`
		} `json:"ca"`
	} `json:"spec"`
}

// named is an object of cert-manager.
type named interface{ name() string }

func (c certificate) name() string { return c.Metadata.Name }
func (i issuer) name() string      { return i.Metadata.Name }

// add decodes an object strictly.
func add[T named](to map[string]T, text string) error {
	var o T
	err := strict(text, &o)
	to[o.name()] = o
	return err
}

// strict decodes YAML or JSON as Kubernetes does; a field that the type does not
// have, in that case, is an error.
func strict[T any](text string, into *T) error {
	var document map[string]any
	if err := yaml.Unmarshal([]byte(text), &document); err != nil {
		return err
	}
	return runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(document, into, true)
}

// TestCertificatesAreForTheFleet looks at what cert-manager is asked for.
func TestCertificatesAreForTheFleet(t *testing.T) {
	f := build(t, []string{"cert-manager"})
	name := f.environment("skein-router")["SKEIN_TLS_SERVER_NAME"]
	for id, c := range f.certificates {
		from, known := f.issuers[c.Spec.IssuerRef.Name]
		if !known || c.Spec.IssuerRef.Kind != "Issuer" {
			t.Errorf("%s: no issuer %s", id, c.Spec.IssuerRef.Name)
		}
		if before, life := c.Spec.RenewBefore.Duration, c.Spec.Duration.Duration; before < 7*24*time.Hour || before > life/2 {
			t.Errorf("%s: lives %s and is renewed %s before its end", id, life, before)
		}
		switch {
		case c.Spec.IsCA:
			// Else what it signed before is worth nothing once it is renewed.
			if from.Spec.SelfSigned == nil || c.Spec.PrivateKey.RotationPolicy != "Never" {
				t.Errorf("%s: %+v", id, c.Spec)
			}
		case from.Spec.CA == nil || from.Spec.CA.SecretName != f.certificates["skein-authority"].Spec.SecretName:
			t.Errorf("%s: is not signed by the authority", id)
		case !slices.Contains(c.Spec.DNSNames, name):
			t.Errorf("%s: is for %q, and pods look for %q", id, c.Spec.DNSNames, name)
		case !slices.Contains(c.Spec.Usages, "server auth") || !slices.Contains(c.Spec.Usages, "client auth"):
			t.Errorf("%s: must serve as both server and client: %q", id, c.Spec.Usages)
		}
	}
	if len(f.certificates) != 5 || len(f.issuers) != 2 {
		t.Errorf("%d certificates, %d issuers", len(f.certificates), len(f.issuers))
	}
}
