package conformance

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// scenario is one case: what a client sends and what has to come back.
type scenario struct {
	id     string   // of the recording, such as W020, or of a fixture, such as F1.03
	groups []string // rules that it shows, such as R8; the first names its subtest
	title  string
	where  string // file and line

	derived  bool   // follows from its rule; its recording is not at hand
	differs  string // why Skein's answer is not Phoenix's
	unplayed string // why it is not replayed

	mount, version, query string // of sockets that it does not open itself
	steps                 []step
}

// step is one line of a case, with the lines that belong to it.
type step struct {
	line int
	verb string
	who  string // which socket; "A" unless the line says another
	text string

	header []string // "> name: value" of a request, "< name: value" of an answer
	body   []string // "| text"
}

var (
	caseLine = regexp.MustCompile(`^== (\S+) ((?:[A-Z0-9]+ ?)+): (.+)$`)
	ownLine  = regexp.MustCompile(`^([B-Z]) (.+)$`)
)

// Verbs of steps. Those in words may also name what they act on.
var verbs = []string{
	"->", "<-", "<~", "<+", // send; expect; expect in any order with its neighbours; expect behind others
	"UPGRADE", "GET", "POST", "POLL", "DELETE",
	"publish", "later", "repeat", "disconnect", "reset", "wait", "people",
}

// load reads every file of testdata.
func load(t *testing.T) []scenario {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", "*.txt"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases found: %v", err)
	}
	var all []scenario
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		found, err := parse(filepath.Base(file), string(text))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, found...)
	}
	return all
}

// parse reads the cases of one file.
func parse(name, text string) ([]scenario, error) {
	var all []scenario
	number := 0
	for line := range strings.Lines(text) {
		number++
		line = strings.TrimSuffix(line, "\n")
		where := fmt.Sprintf("%s:%d", name, number)
		switch head := caseLine.FindStringSubmatch(line); {
		case strings.TrimSpace(line) == "" || line[0] == '#':
		case head != nil:
			all = append(all, scenario{
				id: head[1], groups: strings.Fields(head[2]), title: head[3], where: where,
				mount: "/socket", version: "2.0.0",
			})
		case len(all) == 0:
			return nil, fmt.Errorf("%s: %q stands before the first case", where, line)
		default:
			if err := all[len(all)-1].add(line, number); err != nil {
				return nil, fmt.Errorf("%s: %w", where, err)
			}
		}
	}
	return all, nil
}

// add reads a line of a case.
func (c *scenario) add(line string, number int) error {
	word, rest, _ := strings.Cut(line, " ")
	switch word {
	case "derived":
		c.derived = true
	case "differs:":
		c.differs = rest
	case "unplayed:":
		c.unplayed = rest
	case "mount":
		c.mount = rest
	case "vsn":
		c.version = rest
	case "query":
		c.query = rest
	case ">", "<", "|":
		return c.attach(word, rest)
	default:
		s := step{line: number, who: "A"}
		if own := ownLine.FindStringSubmatch(line); own != nil {
			s.who, line = own[1], own[2]
		}
		s.verb, s.text, _ = strings.Cut(line, " ")
		if !slices.Contains(verbs, s.verb) {
			return fmt.Errorf("%q is no step", line)
		}
		for _, one := range spread(s.text) {
			s.text = one
			c.steps = append(c.steps, s)
		}
	}
	return nil
}

func (c *scenario) attach(word, rest string) error {
	if len(c.steps) == 0 {
		return fmt.Errorf("%s %s belongs to no step", word, rest)
	}
	s := &c.steps[len(c.steps)-1]
	if word == "|" {
		s.body = append(s.body, spread(rest)...)
	} else {
		s.header = append(s.header, rest)
	}
	return nil
}

var ranges = regexp.MustCompile(`<(\d+)\.\.(\d+)>`)

// spread makes a line for each number of the ranges "<from..to>" in it, which
// are all the same.
func spread(line string) []string {
	found := ranges.FindStringSubmatch(line)
	if found == nil {
		return []string{line}
	}
	from, _ := strconv.Atoi(found[1]) // the pattern has digits only
	to, _ := strconv.Atoi(found[2])
	var lines []string
	for n := from; n <= to; n++ {
		lines = append(lines, strings.ReplaceAll(line, found[0], strconv.Itoa(n)))
	}
	return lines
}

// name of the subtest.
func (c *scenario) name() string {
	return c.id + "_" + strings.Trim(notWord.ReplaceAllString(strings.ToLower(c.title), "_"), "_")
}

var notWord = regexp.MustCompile(`[^a-z0-9]+`)

func TestParse(t *testing.T) {
	all, err := parse("x.txt", "# text\n\n== W001 R1 R26: a title\nmount /small\nB -> [1]\nPOST /p\n> a: b\n| [2]\n<- HTTP 200 {}\ndiffers: so\n")
	if err != nil || len(all) != 1 {
		t.Fatalf("%v %v", all, err)
	}
	c := all[0]
	if c.id != "W001" || !slices.Equal(c.groups, []string{"R1", "R26"}) || c.mount != "/small" || c.differs != "so" || len(c.steps) != 3 {
		t.Errorf("case: %+v", c)
	}
	if s := c.steps[0]; s.who != "B" || s.verb != "->" || s.text != "[1]" {
		t.Errorf("first step: %+v", s)
	}
	if s := c.steps[1]; s.verb != "POST" || !slices.Equal(s.header, []string{"a: b"}) || !slices.Equal(s.body, []string{"[2]"}) {
		t.Errorf("second step: %+v", s)
	}
	for _, bad := range []string{"-> early", "== W1 R1: x\n> early", "== W1 R1: x\nhello you"} {
		if _, err := parse("x.txt", bad); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}
