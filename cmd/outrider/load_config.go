package main

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/go-viper/mapstructure/v2"
	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/providers/posflag"
	"github.com/knadh/koanf/providers/rawbytes"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// sources says where the values of a configuration come from.
type sources struct {
	file  string            // that was read; empty: none
	text  []byte            // of the file
	lines map[string]int    // of the file's keys
	of    map[string]string // "environment NAME" or "flag --name", by key
}

// at names the source of a key; empty: the default.
func (s *sources) at(key string) string {
	if from := s.of[key]; from != "" {
		return from
	}
	if line := s.lines[key]; line > 0 {
		return fmt.Sprintf("%s:%d", s.file, line)
	}
	return ""
}

// where names the source of a key, or of what holds it.
func (s *sources) where(key string) string {
	for ; key != ""; key = parent(key) {
		if from := s.at(key); from != "" {
			return from
		}
	}
	return ""
}

// parent is the key of which a key is a part: "a.b[0]" of "a.b[0].c", then "a.b".
func parent(key string) string {
	return key[:max(0, strings.LastIndexAny(key, ".["))]
}

// wrong is an error about a setting: it says where that was set.
func (s *sources) wrong(key, format string, a ...any) error {
	text := fmt.Sprintf(format, a...)
	if from := s.where(key); from != "" {
		text = from + ": " + text
	}
	return usageError{errors.New(text)}
}

// defaultFile is read when it is there and no --config is given.
const defaultFile = "outrider.yaml"

// configFlag is the annotation that ties a flag to a configuration key.
const configFlag = "outrider-config-key"

// bind ties flags of a command to configuration keys.
func bind(f *pflag.FlagSet, keys map[string]string) {
	for name, key := range keys {
		if err := f.SetAnnotation(name, configFlag, []string{key}); err != nil {
			panic(err) // a flag that the command does not have
		}
	}
}

// loadConfig merges defaults, file, environment and flags.
func loadConfig(c *cobra.Command) (*Config, error) {
	path, _ := c.Flags().GetString("config")
	cfg, err := readConfig(path, c.Flags())
	if err != nil {
		return nil, err
	}
	return cfg, errors.Join(cfg.validate()...)
}

// readConfig is loadConfig without checking the values; flags may be nil: then the file alone counts.
func readConfig(path string, flags *pflag.FlagSet) (*Config, error) {
	k := koanf.New(".")
	cfg := defaultConfig()
	cfg.from = sources{of: map[string]string{}}
	if err := cfg.from.loadFile(k, path); err != nil {
		return nil, err
	}
	if flags != nil {
		if err := errors.Join(cfg.from.loadEnv(k), cfg.from.loadFlags(k, flags)); err != nil {
			return nil, err
		}
	}
	return &cfg, cfg.unmarshal(k)
}

func (s *sources) loadFile(k *koanf.Koanf, path string) error {
	optional := path == ""
	if optional {
		path = defaultFile
	}
	text, err := os.ReadFile(path)
	if optional && errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return usagef("cannot read the configuration file: %w", err)
	}
	s.file, s.text = path, text
	if s.lines, err = checkKeys(path, text); err != nil {
		return err
	}
	if err := k.Load(rawbytes.Provider(text), yaml.Parser()); err != nil {
		return usagef("%s: %w", path, err)
	}
	return nil
}

func (s *sources) loadEnv(k *koanf.Koanf) error {
	known := envKeys()
	var unknown error
	err := k.Load(env.Provider(".", env.Opt{Prefix: "OUTRIDER_", TransformFunc: func(name, value string) (string, any) {
		if name == tokenVariable {
			return "", nil
		}
		key, ok := known[name]
		if !ok {
			unknown = usagef("environment variable %s names no setting%s (see `outrider config --keys`)", name,
				didYouMean(name, slices.Collect(maps.Keys(known))))
			return "", nil
		}
		s.of[key] = "environment " + name
		return key, value
	}}), nil)
	return errors.Join(err, unknown)
}

func (s *sources) loadFlags(k *koanf.Koanf, flags *pflag.FlagSet) error {
	return k.Load(posflag.ProviderWithFlag(flags, ".", k, func(f *pflag.Flag) (string, any) {
		key := ""
		switch {
		case !f.Changed:
		case f.Name == "log-level":
			key = "log.level"
		case f.Name == "log-format":
			key = "log.format"
		case len(f.Annotations[configFlag]) == 1:
			key = f.Annotations[configFlag][0]
		}
		if key != "" {
			s.of[key] = "flag --" + f.Name
		}
		return key, posflag.FlagVal(flags, f)
	}), nil)
}

// unmarshal sets what was loaded; the rest keeps its default.
func (c *Config) unmarshal(k *koanf.Koanf) error {
	err := k.UnmarshalWithConf("", c, koanf.UnmarshalConf{Tag: "koanf", DecoderConfig: &mapstructure.DecoderConfig{
		Result: c, TagName: "koanf", WeaklyTypedInput: true, ErrorUnused: true,
		DecodeHook: mapstructure.ComposeDecodeHookFunc(mapstructure.StringToTimeDurationHookFunc(), mapstructure.StringToSliceHookFunc(","), words),
	}})
	var bad *mapstructure.DecodeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &bad):
		why := strings.NewReplacer("strconv.ParseInt: ", "", "strconv.ParseBool: ", "").Replace(bad.Unwrap().Error())
		return c.from.wrong(bad.Name(), "%s: %s", bad.Name(), why)
	}
	return usagef("configuration: %w", err)
}

// words lets a name stand for a model, and words for a bound on run-ahead.
func words(from, to reflect.Type, data any) (any, error) {
	switch {
	case to == reflect.TypeFor[ModelConfig]() && from.Kind() == reflect.String:
		return map[string]any{"model": data}, nil
	case to == reflect.TypeFor[runAhead]() && from != to:
		return parseRunAhead(fmt.Sprint(data))
	}
	return data, nil
}
