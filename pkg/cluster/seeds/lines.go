package seeds

import (
	"errors"
	"fmt"
	"strings"
)

// maxText is how much a file or a command may say, in bytes.
const maxText = 256 << 10

// errMalformed is below every complaint about what was said, not whether.
var errMalformed = errors.New("malformed")

var errTooLong = fmt.Errorf("%w: more than %d bytes", errMalformed, maxText)

// parseLines returns the addresses that text has one on a line. "#" begins a
// comment. One bad line makes the whole text bad: it may be half written.
func parseLines(text string) ([]string, error) {
	var addresses []string
	number := 0
	for line := range strings.Lines(text) {
		number++
		line, _, _ = strings.Cut(line, "#")
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		if err := checkAddress(line); err != nil {
			return nil, fmt.Errorf("%w: line %d: %w", errMalformed, number, err)
		}
		addresses = append(addresses, line)
	}
	return addresses, nil
}
