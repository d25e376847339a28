package conf

import (
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"
)

// given is the value of one option as a file has it.
type given struct {
	option *option
	value  reflect.Value
}

// readFile reads a YAML file and reports every key that is unknown, repeated or
// of the wrong shape, with its line.
func readFile(path string, opts []*option) ([]given, []string) {
	f, err := os.Open(path) //nolint:gosec // the operator names the file
	if err != nil {
		return nil, []string{fmt.Sprintf("--config: %v", err)}
	}
	defer f.Close() //nolint:errcheck // only read
	return readYAML(f, path, opts)
}

func readYAML(r io.Reader, path string, opts []*option) ([]given, []string) {
	var doc yaml.Node
	if err := yaml.NewDecoder(r).Decode(&doc); errors.Is(err, io.EOF) {
		return nil, nil
	} else if err != nil {
		return nil, []string{fmt.Sprintf("%s: %s", path, strings.TrimPrefix(err.Error(), "yaml: "))}
	}
	reader := newFileReader(path, opts)
	if root := doc.Content[0]; root.Kind == yaml.MappingNode {
		reader.mapping(root, "", "")
	} else if root.Tag != "!!null" {
		reader.problem(root, "must be a list of keys with values")
	}
	return reader.given, reader.problems
}

// fileReader reads one set of options: those of a file, or of one element of a
// table.
type fileReader struct {
	path  string // empty for the text of a flag or variable
	byKey map[string]*option
	names []string

	seen     map[string]int // line where each key was given
	given    []given
	problems []string
}

func newFileReader(path string, opts []*option) *fileReader {
	r := &fileReader{path: path, byKey: map[string]*option{}, seen: map[string]int{}}
	for _, o := range opts {
		r.byKey[keyName(o.name)] = o
		r.names = append(r.names, keyName(o.name))
	}
	return r
}

func (r *fileReader) problem(n *yaml.Node, format string, args ...any) {
	message := fmt.Sprintf(format, args...)
	if r.path != "" {
		message = fmt.Sprintf("%s:%d: %s", r.path, n.Line, message)
	}
	r.problems = append(r.problems, message)
}

// mapping reads the keys of one mapping. Keys of nested mappings are joined by
// "_" for the option and by "." for messages.
func (r *fileReader) mapping(m *yaml.Node, prefix, shown string) {
	for i := 0; i+1 < len(m.Content); i += 2 {
		key, value := m.Content[i], followed(m.Content[i+1])
		full, name := prefix+key.Value, shown+key.Value
		o, known := r.byKey[full]
		switch {
		case !known && value.Kind == yaml.MappingNode && r.isPrefix(full+"_"):
			r.mapping(value, full+"_", name+".")
		case !known:
			r.problem(key, "unknown key %q%s", name, suggest("", full, r.names))
		case r.seen[full] != 0:
			r.problem(key, "%q is given twice, first on line %d", name, r.seen[full])
		default:
			r.seen[full] = key.Line
			r.value(o, name, key, value)
		}
	}
}

// followed is the node that an alias stands for.
func followed(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

func (r *fileReader) value(o *option, name string, key, value *yaml.Node) {
	var values []string
	switch {
	case value.Tag == "!!null":
		r.problem(key, "%q has no value", name)
		return
	case o.isTable():
		r.table(o, name, value)
		return
	case value.Kind == yaml.ScalarNode:
		values = []string{value.Value}
	case value.Kind == yaml.SequenceNode && o.Type() == "list":
		for _, item := range value.Content {
			if item.Kind != yaml.ScalarNode {
				r.problem(item, "%q takes a list of plain values", name)
				return
			}
			values = append(values, item.Value)
		}
	default:
		r.problem(key, "%q takes a %s", name, o.Type())
		return
	}
	converted, err := o.convert(values)
	if err != nil {
		r.problem(key, "%s: %v", name, err)
	} else {
		r.given = append(r.given, given{o, converted})
	}
}

func (r *fileReader) isPrefix(prefix string) bool {
	for _, name := range r.names {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}
