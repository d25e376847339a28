package rpc

import (
	"google.golang.org/grpc"

	"github.com/skein-mesh/skein/pkg/apikey"
	"github.com/skein-mesh/skein/pkg/refusal"
	"github.com/skein-mesh/skein/pkg/telemetry"
	"github.com/skein-mesh/skein/pkg/tlsfiles"
)

// Security is how the servers and clients of one process are protected. Its zero
// value protects nothing, for what stays within a process; see [Secure].
type Security struct {
	tls      *tlsfiles.Files // nil for plaintext
	keys     *apikey.Keys    // nil for none
	insecure bool            // plaintext may leave the machine
	refusals *refusal.Log    // nil in the zero value
}

// SecuritySettings are what an operator says about it. They must be valid.
type SecuritySettings struct {
	TLS      tlsfiles.TLS
	Keys     apikey.List
	Insecure bool // plaintext may leave the machine
}

// Secure reads the files that settings name.
func Secure(s SecuritySettings, tel *telemetry.Telemetry) (Security, error) {
	refusals, err := refusal.New(tel.Log, tel.Meter)
	if err != nil {
		return Security{}, err
	}
	security := Security{insecure: s.Insecure, refusals: refusals}
	if s.TLS.Enabled() {
		if security.tls, err = tlsfiles.Load(s.TLS, tel.Log); err != nil {
			return Security{}, err
		}
	}
	if len(s.Keys.APIKeys) > 0 {
		security.keys, err = apikey.Load(s.Keys)
	}
	return security, err
}

// Server returns the options of a server whose calls have rules. With TLS, and
// without API keys, a client needs a certificate to connect at all.
func (s Security) Server(rules apikey.Rules) []grpc.ServerOption {
	options := s.Gate(rules)
	if s.tls != nil {
		options = append(options, grpc.Creds(s.tls.ServerCredentials(s.keys.Len() == 0, s.refusals)))
	}
	return options
}

// Gate returns the options that check calls, without TLS: for a server within the
// process that speaks for callers of another protocol. With TLS, callers have no
// certificate there, and so need an API key.
func (s Security) Gate(rules apikey.Rules) []grpc.ServerOption {
	if s.refusals == nil {
		return nil
	}
	gate := apikey.NewGate(rules, s.keys, s.tls != nil, s.refusals)
	return []grpc.ServerOption{grpc.ChainUnaryInterceptor(gate.Unary), grpc.ChainStreamInterceptor(gate.Stream)}
}

// Client returns the options of connections to the fleet's own servers; for
// [Dial].
func (s Security) Client() []grpc.DialOption {
	switch {
	case s.refusals == nil:
		return nil
	case s.tls != nil:
		return []grpc.DialOption{grpc.WithTransportCredentials(s.tls.ClientCredentials(s.refusals))}
	}
	options := []grpc.DialOption{grpc.WithTransportCredentials(tlsfiles.Plaintext(s.insecure, s.refusals))}
	if s.keys.Len() > 0 {
		options = append(options, apikey.Forward()...)
	}
	return options
}

// Refusals counts and logs what the process refuses; nil in the zero value.
func (s Security) Refusals() *refusal.Log { return s.refusals }

// Dialer returns a [Dial] that is protected and takes part in traces.
func (s Security) Dialer(tel *telemetry.Telemetry) func(address string) (*grpc.ClientConn, error) {
	options := append(s.Client(), Traced(tel))
	return func(address string) (*grpc.ClientConn, error) { return Dial(address, options...) }
}
