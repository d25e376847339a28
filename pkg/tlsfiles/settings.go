package tlsfiles

import (
	"errors"
	"fmt"
)

// TLS are the files that protect what services say to each other.
type TLS struct {
	Cert string `conf:"tls-cert" usage:"file of this process's certificate for gRPC, PEM, with its intermediates; read again when it changes, like tls-key and tls-ca"`
	Key  string `conf:"tls-key" usage:"file of the certificate's private key, PEM"`
	CA   string `conf:"tls-ca" usage:"file of the authorities that sign the fleet's certificates, PEM"`
	Name string `conf:"tls-server-name" usage:"name that the certificates of routers and presence instances are for; empty for the host that is dialled"`
}

// Enabled reports whether connections are protected.
func (s TLS) Enabled() bool { return s.Cert != "" || s.Key != "" || s.CA != "" }

// Validate reports what is missing for a service, which is server and client:
// all files or none.
func (s TLS) Validate() error {
	var errs []error
	for _, f := range [][2]string{{"tls-cert", s.Cert}, {"tls-key", s.Key}, {"tls-ca", s.CA}} {
		if s.Enabled() && f[1] == "" {
			errs = append(errs, fmt.Errorf("%s: is missing; tls-cert, tls-key and tls-ca go together", f[0]))
		}
	}
	return errors.Join(append(errs, s.validateName())...)
}

// ValidateClient reports what is missing for a program that only calls: it may
// do without a certificate of its own, which a key for the API replaces.
func (s TLS) ValidateClient() error {
	var errs []error
	if s.Enabled() && s.CA == "" {
		errs = append(errs, errors.New("tls-ca: is missing; without it no server can be trusted"))
	}
	if (s.Cert == "") != (s.Key == "") {
		errs = append(errs, errors.New("tls-cert, tls-key: one of them is missing; they go together"))
	}
	return errors.Join(append(errs, s.validateName())...)
}

func (s TLS) validateName() error {
	if s.Name != "" && !s.Enabled() {
		return errors.New("tls-server-name: says nothing without tls-ca")
	}
	return nil
}

// Public are the files that protect the port of clients.
type Public struct {
	Cert string `conf:"public-tls-cert" usage:"file of the certificate that clients see, PEM, with its intermediates; read again when it changes, like public-tls-key; empty for no TLS"`
	Key  string `conf:"public-tls-key" usage:"file of the certificate's private key, PEM"`
}

// Enabled reports whether clients connect with TLS.
func (p Public) Enabled() bool { return p.Cert != "" || p.Key != "" }

// Validate reports what is missing: both files or none.
func (p Public) Validate() error {
	if (p.Cert == "") != (p.Key == "") {
		return errors.New("public-tls-cert, public-tls-key: one of them is missing; they go together")
	}
	return nil
}
