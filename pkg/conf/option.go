package conf

import (
	"encoding"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// Names with a meaning of their own.
const (
	configFlag  = "config"
	helpFlag    = "help"
	versionFlag = "version"
	listenFlag  = "listen"
)

// option is one field of a configuration. It is the [pflag.Value] of its flag.
type option struct {
	name   string // kebab case, with prefixes
	usage  string
	secret bool
	field  reflect.Value // addressable
	given  bool          // set by a flag before: a list then grows
}

func envName(name string) string {
	return "SKEIN_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}
func keyName(name string) string { return strings.ReplaceAll(name, "-", "_") }

// options lists the fields of the struct that cfg points to, in order.
func options(cfg Config) []*option {
	return walk(reflect.ValueOf(cfg).Elem(), "")
}

func walk(v reflect.Value, prefix string) []*option {
	var all []*option
	for i := range v.NumField() {
		f, name := v.Type().Field(i), v.Type().Field(i).Tag.Get("conf")
		switch {
		case f.Anonymous && f.Type.Kind() == reflect.Struct:
			all = append(all, walk(v.Field(i), prefix+join(name))...)
		case name == "":
		case f.Type.Kind() == reflect.Struct && unmarshaler(v.Field(i)) == nil:
			all = append(all, walk(v.Field(i), prefix+join(name))...)
		default:
			all = append(all, &option{
				name: prefix + name, usage: f.Tag.Get("usage"), secret: f.Tag.Get("secret") == "true", field: v.Field(i),
			})
		}
	}
	return all
}

func join(name string) string {
	if name == "" {
		return ""
	}
	return name + "-"
}

// Set implements [pflag.Value]. The first value of a list replaces the default,
// further ones add to it.
func (o *option) Set(text string) error {
	fresh, err := o.parse(text)
	if err != nil {
		return err
	}
	if o.given && fresh.Kind() == reflect.Slice {
		fresh = reflect.AppendSlice(o.field, fresh)
	}
	o.field.Set(fresh)
	o.given = true
	return nil
}

// String implements [pflag.Value].
func (o *option) String() string {
	if !o.field.IsValid() {
		return ""
	}
	if o.isTable() {
		return flow(o.field)
	}
	return strings.Join(o.values(), ",")
}

// Type implements [pflag.Value]: a word for the help text.
func (o *option) Type() string {
	if unmarshaler(o.field) != nil {
		return "text"
	}
	if o.isTable() {
		return "table"
	}
	if o.isList() {
		return "list"
	}
	if _, ok := reflect.TypeAssert[time.Duration](o.field); ok {
		return "duration"
	}
	switch o.field.Kind() { //nolint:exhaustive // the rest is text
	case reflect.Bool:
		return "bool"
	case reflect.Int, reflect.Int64, reflect.Uint64, reflect.Uint32, reflect.Float64:
		return "number"
	}
	return "text"
}

// parse is the value that a text stands for, as flags and variables have it.
func (o *option) parse(text string) (reflect.Value, error) {
	if o.isTable() {
		return parseTable(o, text)
	}
	return o.convert([]string{text})
}

// convert is the value that plain values stand for. Only lists take several.
func (o *option) convert(values []string) (reflect.Value, error) {
	fresh := reflect.New(o.field.Type()).Elem()
	if fresh.Kind() == reflect.Slice {
		fresh.Set(reflect.ValueOf(splitList(values, splitter(fresh))))
		return fresh, nil
	}
	if len(values) != 1 {
		return fresh, fmt.Errorf("takes one value, got %d", len(values))
	}
	return fresh, parseInto(fresh, values[0])
}

// splitter is how the texts of a list are cut into its items.
func splitter(list reflect.Value) func(text string) []string {
	if own, ok := reflect.TypeAssert[interface{ Split(text string) []string }](list); ok {
		return own.Split
	}
	return func(text string) []string { return strings.Split(text, ",") }
}

func splitList(values []string, split func(text string) []string) []string {
	list := []string{}
	for _, v := range values {
		for _, item := range split(v) {
			if item = strings.TrimSpace(item); item != "" {
				list = append(list, item)
			}
		}
	}
	return list
}

func parseInto(v reflect.Value, text string) error {
	if u := unmarshaler(v); u != nil {
		if err := u.UnmarshalText([]byte(text)); err != nil {
			return fmt.Errorf("%q: %w", text, err)
		}
		return nil
	}
	if _, ok := reflect.TypeAssert[time.Duration](v); ok {
		d, err := time.ParseDuration(text)
		v.SetInt(int64(d))
		return explain(err, text, `a duration such as "30s" or "1m30s"`)
	}
	switch v.Kind() { //nolint:exhaustive // the package doc lists what is allowed
	case reflect.String:
		v.SetString(text)
		return nil
	case reflect.Bool:
		b, err := strconv.ParseBool(text)
		v.SetBool(b)
		return explain(err, text, "true or false")
	case reflect.Int, reflect.Int64:
		n, err := strconv.ParseInt(text, 10, v.Type().Bits())
		v.SetInt(n)
		return explain(err, text, "a whole number")
	case reflect.Uint64, reflect.Uint32:
		n, err := strconv.ParseUint(text, 10, v.Type().Bits())
		v.SetUint(n)
		return explain(err, text, "a whole number of at least 0")
	case reflect.Float64:
		f, err := strconv.ParseFloat(text, 64)
		v.SetFloat(f)
		return explain(err, text, "a number")
	}
	return fmt.Errorf("a field of type %s cannot be configured", v.Type())
}

func explain(err error, text, want string) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%q is not %s", text, want)
}

// isList reports whether the option is a list of texts.
func (o *option) isList() bool {
	t := o.field.Type()
	return t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.String
}

// values is the field as text, one item of a list each.
func (o *option) values() []string {
	if o.isList() {
		list := make([]string, o.field.Len())
		for i := range list {
			list[i] = o.field.Index(i).String()
		}
		return list
	}
	if m, ok := reflect.TypeAssert[encoding.TextMarshaler](o.field); ok {
		if text, err := m.MarshalText(); err == nil {
			return []string{string(text)}
		}
	}
	return []string{fmt.Sprint(o.field.Interface())}
}

func unmarshaler(v reflect.Value) encoding.TextUnmarshaler {
	u, _ := reflect.TypeAssert[encoding.TextUnmarshaler](v.Addr())
	return u
}
