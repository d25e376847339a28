// Package docs runs the commands that README.md, docs/ and the other pages
// show. Ports in pages are fixed, so the tests live in a network namespace of
// their own. A block of commands that no test runs and that no table explains
// fails.
package docs
