package main

import (
	"fmt"
	"reflect"
	"strings"
)

// setting is one key of the configuration.
type setting struct {
	key   string
	field reflect.StructField
	value reflect.Value // in the configuration that was asked for its settings
}

func (s setting) doc() string { return s.field.Tag.Get("doc") }
func (s setting) live() bool  { return s.field.Tag.Get("live") != "" }

// env is the name of the environment variable; models and pairs have none, nor have models' parts.
func (s setting) env() string {
	switch s.field.Type.Kind() {
	case reflect.Map, reflect.Struct:
		return ""
	}
	return envName(s.key)
}

func envName(key string) string {
	return "OUTRIDER_" + strings.ToUpper(strings.ReplaceAll(key, ".", "_"))
}

// settings lists the keys of a configuration in the order of the struct. A model counts as one.
func (c *Config) settings() []setting { return settingsOf(reflect.ValueOf(c).Elem(), "") }

func settingsOf(v reflect.Value, prefix string) []setting {
	var out []setting
	for i := range v.NumField() {
		f := v.Type().Field(i)
		name, rest := keyOf(f)
		switch {
		case !f.IsExported():
		case rest:
			out = append(out, setting{prefix + "NAME", f, v.Field(i)})
		case f.Type.Kind() == reflect.Struct && f.Type != reflect.TypeFor[ModelConfig]():
			out = append(out, settingsOf(v.Field(i), prefix+name+".")...)
		default:
			out = append(out, setting{prefix + name, f, v.Field(i)})
		}
	}
	return out
}

// keyOf is a field's key; rest says that the field takes what no other field takes.
func keyOf(f reflect.StructField) (name string, rest bool) {
	name, option, _ := strings.Cut(f.Tag.Get("koanf"), ",")
	return name, option == "remain"
}

// envKeys maps the names of environment variables to keys; those of the draft's parts are there too.
func envKeys() map[string]string {
	c := defaultConfig()
	m := map[string]string{}
	for _, s := range append(c.settings(), settingsOf(reflect.ValueOf(&c.Edge.Draft).Elem(), "edge.draft.")...) {
		if name := s.env(); name != "" {
			m[name] = s.key
		}
	}
	return m
}

// keyTable is the table of all keys for docs/configuration.md.
func keyTable() string {
	c := defaultConfig()
	var b strings.Builder
	b.WriteString("| key | default | meaning | when it changes |\n|---|---|---|---|\n")
	for _, s := range c.settings() {
		when := "restart"
		if s.live() {
			when = "at once"
		}
		value := fmt.Sprint(s.value.Interface())
		switch k := s.value.Kind(); {
		case k == reflect.Map, k == reflect.Slice, k == reflect.Struct, value == "":
			value = ""
		default:
			value = "`" + value + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", s.key, value, s.doc(), when)
	}
	b.WriteString("\nOf a pair, by its name in `pairs`:\n\n| key | meaning |\n|---|---|\n")
	fields(&b, reflect.TypeFor[PairConfig]())
	b.WriteString("\nOf a tenant, by its name in `cloud.tenants`:\n\n| key | meaning |\n|---|---|\n")
	fields(&b, reflect.TypeFor[TenantConfig]())
	b.WriteString("\nOf a model, by its name in `models`, in `cloud.targets` and as `edge.draft`:\n\n| key | meaning |\n|---|---|\n")
	fields(&b, reflect.TypeFor[ModelConfig]())
	return b.String()
}

func fields(b *strings.Builder, t reflect.Type) {
	for i := range t.NumField() {
		name, _ := keyOf(t.Field(i))
		fmt.Fprintf(b, "| `%s` | %s |\n", name, t.Field(i).Tag.Get("doc"))
	}
}
