// Package e2e tests the binaries as their users meet them: real processes on
// loopback that found each other by gossip, sockets that speak the channel
// protocol, a backend over gRPC, the npm package phoenix and the command line.
//
// The tests have the build tag e2e and build nothing: they run what make build
// left in bin/, or in the folder that SKEIN_BIN names. Each test starts its own
// fleet; the output of its processes is attached when it fails.
package e2e
