package conf

import (
	"errors"
	"fmt"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"
)

// isTable reports whether the option is a list of structs.
func (o *option) isTable() bool {
	t := o.field.Type()
	return t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct
}

// columns are the options of one element of a table.
func columns(element reflect.Value) []*option { return walk(element, "") }

// blank is an element of a table of which nothing is given.
func blank(table reflect.Type) reflect.Value {
	element := reflect.New(table.Elem()).Elem()
	setDefaults(element)
	return element
}

func setDefaults(element reflect.Value) {
	if d, ok := reflect.TypeAssert[interface{ SetDefaults() }](element.Addr()); ok {
		d.SetDefaults()
	}
}

// table reads the elements of a table. The value counts only if there is no
// problem, but all problems are found.
func (r *fileReader) table(o *option, name string, value *yaml.Node) {
	rows, problems := readRows(o, r.path, name, value)
	r.problems = append(r.problems, problems...)
	if len(problems) == 0 {
		r.given = append(r.given, given{o, rows})
	}
}

func readRows(o *option, path, name string, list *yaml.Node) (reflect.Value, []string) {
	rows := reflect.MakeSlice(o.field.Type(), 0, len(list.Content))
	if list.Kind != yaml.SequenceNode {
		r := fileReader{path: path}
		r.problem(list, "%q takes a list of mappings", name)
		return rows, r.problems
	}
	var problems []string
	for i, item := range list.Content {
		element := reflect.New(o.field.Type().Elem()).Elem()
		r, shown := newFileReader(path, columns(element)), fmt.Sprintf("%s[%d]", name, i)
		if item = followed(item); item.Kind == yaml.MappingNode {
			r.mapping(item, "", shown+".")
		} else {
			r.problem(item, "%q takes keys with values", shown)
		}
		for _, g := range r.given {
			g.option.field.Set(g.value)
		}
		setDefaults(element)
		rows, problems = reflect.Append(rows, element), append(problems, r.problems...)
	}
	return rows, problems
}

// parseTable reads a table from YAML or JSON text.
func parseTable(o *option, text string) (reflect.Value, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
		return reflect.Value{}, fmt.Errorf("not a list of mappings: %s", strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if doc.Kind == 0 {
		return reflect.MakeSlice(o.field.Type(), 0, 0), nil
	}
	rows, problems := readRows(o, "", keyName(o.name), doc.Content[0])
	if len(problems) > 0 {
		return rows, errors.New(strings.Join(problems, "; "))
	}
	return rows, nil
}

// flow is a table as text on one line, which [option.parse] reads back. What
// elements have by default is left out.
func flow(table reflect.Value) string {
	defaults := columns(blank(table.Type()))
	rows := make([]string, table.Len())
	for i := range rows {
		var pairs []string
		for j, o := range columns(table.Index(i)) {
			if text := o.yaml(); !o.secret && text != defaults[j].yaml() {
				pairs = append(pairs, keyName(o.name)+": "+text)
			}
		}
		rows[i] = "{" + strings.Join(pairs, ", ") + "}"
	}
	return "[" + strings.Join(rows, ", ") + "]"
}

// block is a table as the value of a key in a file, complete but for secrets.
func block(table reflect.Value) string {
	if table.Len() == 0 {
		return " []\n"
	}
	var b strings.Builder
	b.WriteByte('\n')
	for i := range table.Len() {
		indent := "  - "
		for _, o := range columns(table.Index(i)) {
			if o.secret {
				continue
			}
			fmt.Fprintf(&b, "%s%s: %s\n", indent, keyName(o.name), o.yaml())
			indent = "    "
		}
	}
	return b.String()
}

// markdown documents the elements of a table.
func (o *option) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "\nEach element of `%s` has:\n\n| Key | Default | Meaning |\n|---|---|---|\n", keyName(o.name))
	for _, c := range columns(blank(o.field.Type())) {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", keyName(c.name), code(c.shown()), cell(c.usage))
	}
	return b.String()
}
