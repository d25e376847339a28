// Package deploy tests what is shipped for other ways to run Skein than compose:
// releases, the Debian package, systemd units and the Kubernetes base.
//
// The tests have the build tag e2e, because they build programs, and go to no
// network but for Go modules.
package deploy
