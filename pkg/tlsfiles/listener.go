package tlsfiles

import (
	"crypto/tls"
	"log/slog"
	"net"
)

// Listen puts TLS over the connections of a listener. Settings must be valid and
// enabled. Clients may speak TLS 1.2, as old ones do. The handshake is made by
// the first Read or Write of a connection, under its deadlines.
func Listen(listener net.Listener, p Public, log *slog.Logger) (net.Listener, error) {
	f, err := Load(TLS{Cert: p.Cert, Key: p.Key}, log)
	if err != nil {
		return nil, err
	}
	return tls.NewListener(listener, &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"http/1.1"}, // what the edge speaks; browsers would try HTTP/2
		GetCertificate: f.serverCertificate,
	}), nil
}
