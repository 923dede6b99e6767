package main

import (
	"errors"
	"io/fs"
	"strings"
	"time"

	"github.com/go-viper/mapstructure/v2"
	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/providers/posflag"
	"github.com/knadh/koanf/providers/structs"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/outrider-llm/outrider/models"
)

// Config is everything that can be set; docs/configuration.md lists the keys.
type Config struct {
	Cloud  CloudConfig  `koanf:"cloud"`
	Edge   EdgeConfig   `koanf:"edge"`
	Models ModelsConfig `koanf:"models"`
	Log    LogConfig    `koanf:"log"`
}

// CloudConfig configures `outrider cloud`.
type CloudConfig struct {
	Listen      string        `koanf:"listen"`       // gRPC address
	Admin       string        `koanf:"admin"`        // HTTP address of /metrics, /healthz, /readyz; empty: none
	Targets     []ModelConfig `koanf:"targets"`      // the first is the default
	MaxSessions int           `koanf:"max_sessions"` // per target
	RunAhead    float64       `koanf:"run_ahead"`    // target passes per token at most, for sessions that do not ask
	Drain       time.Duration `koanf:"drain"`        // how long sessions may go on after SIGTERM
	IdleTTL     time.Duration `koanf:"idle_ttl"`     // how long a broken session keeps its rows
}

// EdgeConfig configures `outrider edge`.
type EdgeConfig struct {
	Listen        string        `koanf:"listen"`
	Admin         string        `koanf:"admin"`
	HTTP          string        `koanf:"http"`  // address of the API and the page; empty: none
	Cloud         string        `koanf:"cloud"` // host:port of the cloud
	Model         string        `koanf:"model"` // target's name; empty: the cloud's default
	Draft         ModelConfig   `koanf:"draft"`
	Fallback      string        `koanf:"fallback"` // fail, wait or draft
	FallbackAfter time.Duration `koanf:"fallback_after"`
	RunAhead      float64       `koanf:"run_ahead"` // 0: the cloud's default
	Depth         int           `koanf:"depth"`     // 0: adaptive, negative: never draft
	Branches      bool          `koanf:"branches"`  // also propose the draft's second choices
	Cache         string        `koanf:"cache"`     // folder that keeps tokenizers of targets; empty: the user's cache, none: none
}

// LogConfig configures logging to standard error.
type LogConfig struct {
	Level  string `koanf:"level"`
	Format string `koanf:"format"`
}

// ModelConfig names a model and the engine that runs it.
type ModelConfig struct {
	Name    string            `koanf:"name"`    // how it is asked for; default: from the file
	Model   string            `koanf:"model"`   // GGUF file, or an embedded model's name
	Engine  string            `koanf:"engine"`  // reference, mock, or a plugin binary's path
	Args    []string          `koanf:"args"`    // of the plugin binary
	Env     []string          `koanf:"env"`     // KEY=VALUE for the plugin, which inherits nothing
	SHA256  string            `koanf:"sha256"`  // of the plugin binary, checked before it runs
	Options map[string]string `koanf:"options"` // of the engine
	Pace    string            `koanf:"pace"`    // emulated cost of a step and of a row: "40ms+0.3ms"; empty: none
	// Tokenizer is a GGUF file whose vocabulary the model uses; default: the model file itself.
	Tokenizer string `koanf:"tokenizer"`
}

// Default addresses.
const (
	cloudAddr      = "127.0.0.1:7600"
	cloudAdminAddr = "127.0.0.1:7601"
	edgeAddr       = "127.0.0.1:7700"
	edgeAdminAddr  = "127.0.0.1:7701"
	edgeHTTPAddr   = "127.0.0.1:7780"
)

func defaultConfig() Config {
	return Config{
		Cloud: CloudConfig{Listen: cloudAddr, Admin: cloudAdminAddr, MaxSessions: 4096, RunAhead: 1,
			Drain: 20 * time.Second, IdleTTL: time.Minute},
		Edge: EdgeConfig{Listen: edgeAddr, Admin: edgeAdminAddr, HTTP: edgeHTTPAddr, Cloud: cloudAddr, Fallback: "wait",
			FallbackAfter: 3 * time.Second, Branches: true, Draft: ModelConfig{Model: models.DraftName, Engine: "reference"}},
		Log: LogConfig{Level: "info", Format: "text"},
	}
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
	k := koanf.New(".")
	if err := k.Load(structs.Provider(defaultConfig(), "koanf"), nil); err != nil {
		return nil, err
	}
	known := envKeys(k)
	path, _ := c.Flags().GetString("config")
	if err := loadFile(k, path); err != nil {
		return nil, err
	}
	var unknown error
	err := k.Load(env.Provider(".", env.Opt{Prefix: "OUTRIDER_", TransformFunc: func(name, value string) (string, any) {
		key, ok := known[name]
		if !ok {
			unknown = usagef("environment variable %s names no setting (see `outrider config`)", name)
		}
		return key, value
	}}), nil)
	if err = errors.Join(err, unknown); err != nil {
		return nil, err
	}
	flags := posflag.ProviderWithFlag(c.Flags(), ".", k, func(f *pflag.Flag) (string, any) {
		key := ""
		switch {
		case f.Name == "log-level":
			key = "log.level"
		case f.Name == "log-format":
			key = "log.format"
		case len(f.Annotations[configFlag]) == 1:
			key = f.Annotations[configFlag][0]
		}
		return key, posflag.FlagVal(c.Flags(), f)
	})
	if err := k.Load(flags, nil); err != nil {
		return nil, err
	}
	return unmarshal(k)
}

func loadFile(k *koanf.Koanf, path string) error {
	optional := path == ""
	if optional {
		path = defaultFile
	}
	err := k.Load(file.Provider(path), yaml.Parser())
	if err == nil || (optional && errors.Is(err, fs.ErrNotExist)) {
		return nil
	}
	return usagef("cannot read the configuration file %s: %w", path, err)
}

func unmarshal(k *koanf.Koanf) (*Config, error) {
	c := &Config{}
	err := k.UnmarshalWithConf("", c, koanf.UnmarshalConf{Tag: "koanf", DecoderConfig: &mapstructure.DecoderConfig{
		Result: c, TagName: "koanf", WeaklyTypedInput: true, ErrorUnused: true,
		DecodeHook: mapstructure.ComposeDecodeHookFunc(mapstructure.StringToTimeDurationHookFunc(), mapstructure.StringToSliceHookFunc(",")),
	}})
	if err != nil {
		return nil, usagef("configuration: %s", strings.TrimSpace(strings.ReplaceAll(err.Error(), "decoding failed due to the following error(s):", "")))
	}
	return c, c.validate()
}

// envKeys maps the name of an environment variable to its configuration key.
func envKeys(k *koanf.Koanf) map[string]string {
	m := map[string]string{}
	for _, key := range k.Keys() {
		m["OUTRIDER_"+strings.ToUpper(strings.ReplaceAll(key, ".", "_"))] = key
	}
	return m
}

func newConfig() *cobra.Command {
	return &cobra.Command{
		Use:   "config",
		Short: "Print the configuration in force",
		Long: `Print the configuration that file, environment and flags add up to, as YAML. Redirect it
to outrider.yaml for a file to start from. An environment variable's name is OUTRIDER_ and the
key in capitals, with _ for the dot: edge.cloud is OUTRIDER_EDGE_CLOUD.`,
		Example: "  outrider config\n  OUTRIDER_EDGE_CLOUD=gpu1:7600 outrider config > outrider.yaml",
		Args:    noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := loadConfig(c)
			if err != nil {
				return err
			}
			k := koanf.New(".")
			if err := k.Load(structs.Provider(cfg, "koanf"), nil); err != nil {
				return err
			}
			b, err := k.Marshal(yamlDurations{yaml.Parser()})
			if err != nil {
				return err
			}
			_, err = c.OutOrStdout().Write(b)
			return err
		},
	}
}

// yamlDurations writes durations as people do.
type yamlDurations struct{ *yaml.YAML }

func (y yamlDurations) Marshal(m map[string]any) ([]byte, error) {
	for key, v := range m {
		switch v := v.(type) {
		case time.Duration:
			m[key] = v.String()
		case map[string]any:
			if _, err := y.Marshal(v); err != nil {
				return nil, err
			}
		}
	}
	return y.YAML.Marshal(m)
}
