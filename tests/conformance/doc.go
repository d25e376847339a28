// Package conformance holds a running fleet against Phoenix, rule by rule and
// case by case.
//
// The cases are data: testdata/*.txt hold what a client of a real Phoenix
// application sent and what it got back, in one readable table for each section
// of the recordings. The tests build the programs, start a router, a presence
// instance and an edge, play the recorded application as their backend, replay
// every case, and compare JSON, never text. See README.md for the format.
//
//	go test ./tests/conformance -v
//
// prints every rule and case with its verdict. Where Skein answers differently
// on purpose the case says why, and docs/compatibility.md has to list it.
package conformance
