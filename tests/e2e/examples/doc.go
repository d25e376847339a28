// Package examples starts each example with the command of its README and uses
// it as its clients do. The tests have the build tag e2e, as those of package
// e2e, and run what make build left in bin/.
package examples
