package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"
)

func newConfig() *cobra.Command {
	var check string
	var keys bool
	c := &cobra.Command{
		Use:   "config",
		Short: "Print the configuration in force, or check a file",
		Long: `Print the configuration that file, environment and flags add up to, as YAML; a comment says where a
value comes from when it is not the default. Redirect it to outrider.yaml for a file to start
from. An environment variable's name is OUTRIDER_ and the key in capitals, with _ for the dot:
edge.cloud is OUTRIDER_EDGE_CLOUD.

--check FILE says all that is wrong with a file, models and pairs that it names included, and
nothing of environment and flags counts. --keys lists every key.`,
		Example: `  outrider config
  OUTRIDER_EDGE_CLOUD=gpu1:7600 outrider config > outrider.yaml
  outrider config --check outrider.yaml
  outrider config --keys`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if keys {
				_, err := fmt.Fprint(c.OutOrStdout(), keyTable())
				return err
			}
			if c.Flags().Changed("check") {
				return checkFile(check, c.OutOrStdout(), c.ErrOrStderr())
			}
			cfg, err := loadConfig(c)
			if err != nil {
				return err
			}
			return cfg.print(c.OutOrStdout())
		},
	}
	f := c.Flags()
	f.StringVar(&check, "check", "", "check this file")
	f.BoolVar(&keys, "keys", false, "list all keys with their defaults and meanings (Markdown)")
	addPairFlag(f)
	return c
}

// checkFile says everything that is wrong with a file, one line each.
func checkFile(path string, w, stderr io.Writer) error {
	if path == "" {
		return usagef("--check needs the name of a file")
	}
	cfg, err := readConfig(path, nil)
	errs := split(err)
	if err == nil {
		errs = split(errors.Join(cfg.check()...))
	}
	if len(errs) == 1 {
		return usageError{errs[0]}
	}
	for _, e := range errs {
		fmt.Fprintln(stderr, oneLine(e))
	}
	if len(errs) > 0 {
		return usagef("%s has %d mistakes", path, len(errs))
	}
	target, draft := cfg.drafting()
	if target == "" {
		target = "the cloud's default target"
	}
	var served []string
	for _, t := range cfg.served() {
		served = append(served, cfg.Models.named(t).label())
	}
	fmt.Fprintf(w, "%s is valid: the cloud serves %s; the edge drafts with %s for %s\n", path, strings.Join(served, ", "),
		cfg.Models.named(draft).label(), target)
	return nil
}

// split takes a joined error apart.
func split(err error) []error {
	var joined interface{ Unwrap() []error }
	if err == nil || !errors.As(err, &joined) {
		if err == nil {
			return nil
		}
		return []error{err}
	}
	var out []error
	for _, e := range joined.Unwrap() {
		out = append(out, split(e)...)
	}
	return out
}

// check is validate for a whole file: with addresses, and with the models that it names.
func (c *Config) check() []error {
	errs := append(c.validate(), c.addressErrors()...)
	if _, _, err := newLogger(c.Log, io.Discard); err != nil {
		key := "log.level"
		if strings.HasPrefix(err.Error(), "log.format") {
			key = "log.format"
		}
		errs = append(errs, c.from.wrong(key, "%s", err))
	}
	known := func(key string, m ModelConfig) {
		if _, _, err := m.pace(); err != nil {
			errs = append(errs, c.from.wrong(key, "%s", err))
		}
		if err := m.resolve(c.Models); err != nil {
			errs = append(errs, c.from.wrong(key, "%s", err))
		}
	}
	seen := map[string]bool{}
	for i, t := range c.Cloud.Targets {
		key := fmt.Sprintf("cloud.targets[%d]", i)
		known(key, t)
		label := c.Models.named(t).label()
		if seen[label] {
			errs = append(errs, c.from.wrong(key, "two targets are named %s: give one another name", label))
		}
		seen[label] = true
	}
	if c.Edge.Draft.Model != "" {
		known("edge.draft", c.Edge.Draft)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Models.Named)) {
		known("models."+name, c.Models.Named[name])
	}
	return errs
}

// print writes the configuration as a file that means the same.
func (c *Config) print(w io.Writer) error {
	n, err := c.node(reflect.ValueOf(c).Elem(), "")
	if err != nil {
		return err
	}
	n.HeadComment = "what no comment follows is a default"
	e := yaml.NewEncoder(w)
	e.SetIndent(2)
	return errors.Join(e.Encode(n), e.Close())
}

// node writes a struct as YAML, each value with a comment that names its source.
func (c *Config) node(v reflect.Value, prefix string) (*yaml.Node, error) {
	out := &yaml.Node{Kind: yaml.MappingNode}
	add := func(key, full string, value any) error {
		n, ok := value.(*yaml.Node)
		if !ok {
			n = &yaml.Node{}
			if err := n.Encode(value); err != nil {
				return err
			}
		}
		k := &yaml.Node{Kind: yaml.ScalarNode, Value: key}
		if from := c.from.at(full); from != "" && n.Kind == yaml.ScalarNode {
			n.LineComment = from
		} else if from != "" && !ok {
			k.HeadComment = from
		}
		out.Content = append(out.Content, k, n)
		return nil
	}
	for i := range v.NumField() {
		f, x := v.Type().Field(i), v.Field(i)
		name, rest := keyOf(f)
		switch full := prefix + name; {
		case !f.IsExported(), x.Kind() == reflect.Map && x.Len() == 0:
		case rest:
			for _, key := range slices.Sorted(maps.Keys(c.Models.Named)) {
				if err := add(key, prefix+key, plain(reflect.ValueOf(c.Models.Named[key]))); err != nil {
					return nil, err
				}
			}
		case f.Type.Kind() == reflect.Struct && f.Type != reflect.TypeFor[ModelConfig]():
			n, err := c.node(x, full+".")
			if err != nil {
				return nil, err
			}
			if err := add(name, full, n); err != nil {
				return nil, err
			}
		default:
			if err := add(name, full, plain(x)); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

// plain makes of models and pairs what YAML writes well: only what is set, and a name alone for a
// model that says nothing else.
func plain(v reflect.Value) any {
	switch v.Kind() {
	case reflect.Struct:
		out := map[string]any{}
		for i := range v.NumField() {
			if name, _ := keyOf(v.Type().Field(i)); !v.Field(i).IsZero() {
				out[name] = v.Field(i).Interface()
			}
		}
		if m, ok := v.Interface().(ModelConfig); ok && len(out) <= 1 && (m.Model != "" || len(out) == 0) {
			return m.Model
		}
		return out
	case reflect.Slice:
		out := []any{}
		for i := range v.Len() {
			out = append(out, plain(v.Index(i)))
		}
		return out
	case reflect.Map:
		out := map[string]any{}
		for it := v.MapRange(); it.Next(); {
			out[it.Key().String()] = plain(it.Value())
		}
		return out
	}
	return v.Interface()
}
