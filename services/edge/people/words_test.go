package people_test

import (
	"regexp"
	"strings"
)

// refs finds refs in payloads.
var refs = regexp.MustCompile(`"(phx_ref|phx_ref_prev)":"[A-Za-z0-9_-]{16}"`)

// person is a member of a list of people, without its ref.
func person(key string) string { return `"` + key + `":{"metas":[{"phx_ref":R}]}` }

func list(keys ...string) string {
	var people []string
	for _, key := range keys {
		people = append(people, person(key))
	}
	return `{` + strings.Join(people, ",") + `}`
}

func joined(key string) string { return `{"joins":` + list(key) + `,"leaves":{}}` }

func left(key string) string { return `{"joins":{},"leaves":` + list(key) + `}` }
