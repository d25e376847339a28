package conf

import (
	"fmt"
	"strconv"
	"strings"
)

// Markdown documents every option of cfg in a table: flag, variable, YAML key,
// default and meaning. The defaults are what cfg holds. Below it is a table of
// the keys of each option that is a list of mappings.
func Markdown(cfg Config) string {
	var b, below strings.Builder
	b.WriteString("| Flag | Environment | YAML | Default | Meaning |\n|---|---|---|---|---|\n")
	for _, o := range options(cfg) {
		fmt.Fprintf(&b, "| `--%s` | `%s` | `%s` | %s | %s |\n",
			o.name, envName(o.name), keyName(o.name), code(o.shown()), cell(o.usage))
		if o.isTable() {
			below.WriteString(o.markdown())
		}
	}
	return b.String() + below.String()
}

// code is text as code in a cell of a Markdown table.
func code(text string) string {
	if text == "" {
		return ""
	}
	return "`" + cell(text) + "`"
}

func cell(text string) string { return strings.ReplaceAll(text, "|", "\\|") }

// YAML prints cfg as a file that [Load] reads back, with the meaning of each
// key above it. Secrets are left out.
func YAML(cfg Config) string {
	var b strings.Builder
	for i, o := range options(cfg) {
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "# %s\n", o.usage)
		switch {
		case o.secret:
			fmt.Fprintf(&b, "# %s: (secret)\n", keyName(o.name))
		case o.isTable():
			fmt.Fprintf(&b, "%s:%s", keyName(o.name), block(o.field))
		default:
			fmt.Fprintf(&b, "%s: %s\n", keyName(o.name), o.yaml())
		}
	}
	return b.String()
}

// shown is the value as people may see it.
func (o *option) shown() string {
	if o.secret && o.String() != "" {
		return "(secret)"
	}
	return o.String()
}

// yaml is the value as it stands behind its key.
func (o *option) yaml() string {
	switch o.Type() {
	case "list":
		quoted := []string{}
		for _, v := range o.values() {
			quoted = append(quoted, strconv.Quote(v))
		}
		return "[" + strings.Join(quoted, ", ") + "]"
	case "text":
		return strconv.Quote(o.String())
	}
	return o.String()
}
