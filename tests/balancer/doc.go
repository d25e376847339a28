// Package balancer tests edges behind real load balancers: HAProxy and nginx as
// Debian ships them, with the configuration files of deploy/, in front of real
// processes, and thousands of clients that come back exactly as phoenix.js does.
//
// The tests have the build tag e2e and build nothing: they run what make build
// left in bin/, or in the folder that SKEIN_BIN names. Each edge has a loopback
// address of its own, so that the shipped configurations are used as they are.
package balancer
