package conf

import (
	"fmt"
	"strconv"
	"strings"
)

// Markdown documents every option of cfg in a table: flag, variable, YAML key,
// default and meaning. The defaults are what cfg holds.
func Markdown(cfg Config) string {
	var b strings.Builder
	b.WriteString("| Flag | Environment | YAML | Default | Meaning |\n|---|---|---|---|---|\n")
	for _, o := range options(cfg) {
		shown := o.shown()
		if shown != "" {
			shown = "`" + shown + "`"
		}
		fmt.Fprintf(&b, "| `--%s` | `%s` | `%s` | %s | %s |\n",
			o.name, envName(o.name), keyName(o.name), shown, strings.ReplaceAll(o.usage, "|", "\\|"))
	}
	return b.String()
}

// YAML prints cfg as a file that [Load] reads back, with the meaning of each
// key above it. Secrets are left out.
func YAML(cfg Config) string {
	var b strings.Builder
	for i, o := range options(cfg) {
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "# %s\n", o.usage)
		if o.secret {
			fmt.Fprintf(&b, "# %s: (secret)\n", keyName(o.name))
			continue
		}
		fmt.Fprintf(&b, "%s: %s\n", keyName(o.name), o.yaml())
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
