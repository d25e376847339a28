package tlsfiles

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/skein-mesh/skein/pkg/refusal"
)

// ServerCredentials protect a gRPC server with TLS 1.3. With strict a client
// without a certificate is refused at once; else it gets in without one, and
// whoever serves the call decides. A certificate that no authority signed, or
// that expired, is refused always.
func (f *Files) ServerCredentials(strict bool, refusals *refusal.Log) credentials.TransportCredentials {
	auth := tls.VerifyClientCertIfGiven
	if strict {
		auth = tls.RequireAndVerifyClientCert
	}
	return &transport{files: f, clients: auth, refusals: refusals}
}

// ClientCredentials protect connections to gRPC servers with TLS 1.3.
func (f *Files) ClientCredentials(refusals *refusal.Log) credentials.TransportCredentials {
	return &transport{files: f, name: f.settings.Name, refusals: refusals}
}

// transport makes a new TLS configuration for each handshake. Sessions are not
// resumed: a handshake that was resumed would not look at certificates.
type transport struct {
	files    *Files
	clients  tls.ClientAuthType
	name     string
	refusals *refusal.Log
}

// ClientHandshake implements [credentials.TransportCredentials].
func (t *transport) ClientHandshake(ctx context.Context, authority string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	m := t.files.current()
	config := &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: m.authorities}
	if m.certificate != nil {
		config.Certificates = []tls.Certificate{*m.certificate}
	}
	secured, info, err := credentials.NewTLS(config).ClientHandshake(ctx, cmp.Or(t.name, authority), conn)
	if err != nil {
		t.refused(ctx, conn, err, "TLS: server refused")
	}
	return secured, info, err //nolint:wrapcheck // gRPC puts it into its own words
}

// ServerHandshake implements [credentials.TransportCredentials].
func (t *transport) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	config := &tls.Config{
		MinVersion: tls.VersionTLS13, ClientAuth: t.clients, ClientCAs: t.files.current().authorities,
		GetCertificate: t.files.serverCertificate, SessionTicketsDisabled: true,
	}
	secured, info, err := credentials.NewTLS(config).ServerHandshake(conn)
	if err != nil {
		t.refused(context.Background(), conn, err, "TLS: client refused") //nolint:forbidigo // gRPC gives none
	}
	return secured, info, err //nolint:wrapcheck // gRPC's own caller drops it
}

// Info implements [credentials.TransportCredentials].
func (t *transport) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "tls"}
}

// Clone implements [credentials.TransportCredentials].
func (t *transport) Clone() credentials.TransportCredentials {
	clone := *t
	return &clone
}

// OverrideServerName implements [credentials.TransportCredentials].
func (t *transport) OverrideServerName(name string) error {
	t.name = name
	return nil
}

// refused notes a handshake that failed, unless the other side only went away:
// balancers and port scanners do.
func (t *transport) refused(ctx context.Context, conn net.Conn, err error, text string) {
	if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, context.Canceled) || errors.Is(err, net.ErrClosed) {
		return
	}
	t.refusals.Add(ctx, reasonOf(err), conn.RemoteAddr().String(), text, "error", err)
}

// reasonOf says why a handshake failed. The side that sees a certificate knows
// the error itself; the other one gets an alert.
func reasonOf(err error) refusal.Reason {
	var unknown x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	var host x509.HostnameError
	var plain tls.RecordHeaderError
	switch {
	case errors.As(err, &unknown):
		return refusal.UnknownCA
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return refusal.Expired
	case errors.As(err, &host):
		return refusal.WrongName
	case errors.As(err, &plain):
		return refusal.Plaintext
	}
	for _, t := range untyped() {
		if strings.HasSuffix(err.Error(), t.suffix) {
			return t.reason
		}
	}
	return refusal.Handshake
}

// untyped are the texts of errors that have no type of their own.
func untyped() []knownText {
	return []knownText{
		{"client didn't provide a certificate", refusal.NoCertificate},
		{"remote error: tls: certificate required", refusal.NoCertificate},
		{"remote error: tls: unknown certificate authority", refusal.UnknownCA},
		{"remote error: tls: expired certificate", refusal.Expired},
	}
}

type knownText struct {
	suffix string
	reason refusal.Reason
}

// Plaintext protects nothing. Unless that is allowed, it refuses connections to
// other machines.
func Plaintext(allowed bool, refusals *refusal.Log) credentials.TransportCredentials {
	return &plaintext{insecure.NewCredentials(), allowed, refusals}
}

type plaintext struct {
	credentials.TransportCredentials

	allowed  bool
	refusals *refusal.Log
}

// ErrPlaintext is why a connection without TLS is not made.
var ErrPlaintext = errors.New("it is not on this machine and nothing would be encrypted: " +
	"set tls-cert, tls-key and tls-ca or, on a network you trust, insecure")

// ClientHandshake implements [credentials.TransportCredentials].
func (p *plaintext) ClientHandshake(ctx context.Context, authority string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	if a, ok := conn.RemoteAddr().(*net.TCPAddr); ok && !a.IP.IsLoopback() && !p.allowed {
		p.refusals.Add(ctx, refusal.Plaintext, a.String(), "server not asked", "error", ErrPlaintext)
		return nil, nil, ErrPlaintext
	}
	return p.TransportCredentials.ClientHandshake(ctx, authority, conn) //nolint:wrapcheck // it is what this wraps
}

// Clone implements [credentials.TransportCredentials].
func (p *plaintext) Clone() credentials.TransportCredentials {
	return &plaintext{p.TransportCredentials.Clone(), p.allowed, p.refusals}
}
