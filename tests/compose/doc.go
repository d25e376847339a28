// Package compose tests deploy/compose as its users meet it: a real container
// engine, the very compose file and Dockerfiles, and phoenix.js clients, whose
// packages are those of tests/phoenixjs, that come through HAProxy's published
// port on loopback.
//
// No registry is needed: what the images stand on is made from this machine's
// own files. The tests have the build tag e2e, need root, the engine and
// docker-compose, and run the programs that make build left in bin/. They use a
// container engine of their own, and take all that they started down again.
package compose
