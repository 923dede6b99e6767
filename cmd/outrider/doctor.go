package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
)

func newDoctor() *cobra.Command {
	var lib string
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Say what this machine can run, and what to do where it cannot",
		Long: `Look at the configuration, the models that it names, and the engines: which of llama.cpp's libraries
are found, their version and the devices that they see; what hears, speaks and reads here, and how to get what
is missing. Ends with an error when something that
the configuration needs does not work.`,
		Example: "  outrider doctor\n  outrider doctor --lib /opt/llama.cpp/lib\n  outrider doctor --config outrider.yaml",
		Args:    noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := loadConfig(c)
			if err != nil {
				return err
			}
			return doctor(c.Context(), cfg, lib, c.OutOrStdout())
		},
	}
	c.Flags().StringVar(&lib, "lib", "", "folder of llama.cpp's libraries; default: where they are usually")
	return c
}

func doctor(ctx context.Context, cfg *Config, lib string, w io.Writer) error {
	fmt.Fprintf(w, "outrider %s\nreference\n  built in    for small models and tests\nllamacpp\n", version())
	configured := cfg.models()
	for _, m := range configured { // a folder in the configuration goes before the usual ones
		if lib == "" && m.Engine == "llamacpp" {
			lib = m.Options["lib"]
		}
	}
	report, unusable := llamacppReport(ctx, lib)
	if unusable != nil {
		report.Error = oneLine(unusable)
	} else if report.Error != "" {
		unusable = errors.New("llama.cpp's libraries cannot be used")
	}
	report.Print(w)
	failed := perceptionReport(cfg.Perception, w)
	if failed != nil {
		fmt.Fprintf(w, "  error       %s\n", oneLine(failed))
	}
	fmt.Fprintln(w, "models")
	for _, m := range configured {
		state := "ok"
		if err := m.runnable(unusable); err != nil {
			state = oneLine(err)
			failed = firstOf(failed, fmt.Errorf("%s %s cannot run: %w", m.role, m.label(), err))
		}
		fmt.Fprintf(w, "  %-11s %s, engine %s: %s\n", m.role, m.label(), m.Engine, state)
	}
	return failed
}

// configuredModel is a model and what it is for.
type configuredModel struct {
	ModelConfig
	role string
}

// models lists the configured models; names are what they stand for.
func (c *Config) models() []configuredModel {
	var out []configuredModel
	for _, t := range c.served() {
		out = append(out, configuredModel{t, "target"})
	}
	if _, draft := c.drafting(); draft.Model != "none" {
		out = append(out, configuredModel{draft, "draft"})
	}
	for i := range out {
		m := &out[i].ModelConfig
		*m = c.Models.named(*m)
		if file, err := c.Models.file(m.Model); err == nil && m.Engine != "mock" {
			m.Model = file
		}
		if m.Engine == "" {
			m.Engine = "reference"
		}
	}
	return out
}

// runnable says why a model cannot run, as far as one sees without loading it.
func (m ModelConfig) runnable(llamacpp error) error {
	switch {
	case m.Engine == "mock":
		return nil
	case remote(m.Engine): // whether the server answers shows when it is asked
		return m.settleRemote()
	case m.Engine == "llamacpp" && llamacpp != nil:
		return llamacpp
	case m.Engine != "llamacpp" && !builtin(m.Engine):
		if _, err := os.Stat(m.Engine); err != nil {
			return fmt.Errorf("no plugin binary %s", m.Engine)
		}
	}
	info, err := describeModel(m.Model)
	if err != nil {
		return err
	}
	if info.Note != "" {
		return errors.New(info.Note)
	}
	if m.Engine != "llamacpp" && builtin(m.Engine) && info.Architecture != "llama" {
		return fmt.Errorf("architecture %s needs engine: llamacpp", info.Architecture)
	}
	return nil
}
