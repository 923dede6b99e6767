package main

import (
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/status"

	"github.com/outrider-llm/outrider/cmd/outrider/terminal"
	"github.com/outrider-llm/outrider/telemetry"
)

const longHelp = `Outrider serves a large language model to people at the edge. A small draft model
beside the user proposes tokens, the large target model in the cloud confirms or
corrects them: the answer is exactly the target's, sooner.

Start with

  outrider demo                      # both sides on this machine, over an emulated link

or run the two sides yourself:

  outrider cloud                     # serves the embedded demo target on 127.0.0.1:7600
  outrider edge                      # drafts for it, serves 127.0.0.1:7700
  outrider generate "Once upon a time"
  outrider chat

Every setting can come from a file (--config outrider.yaml), the environment
(OUTRIDER_CLOUD_LISTEN=...) or a flag; the later one wins. "outrider config" prints
what is in force.`

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:           "outrider",
		Short:         "Speculative decoding between an edge and a cloud",
		Long:          longHelp,
		Version:       version(),
		SilenceUsage:  true,
		SilenceErrors: true,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			hint := ""
			if near := c.SuggestionsFor(args[0]); len(near) > 0 {
				hint = fmt.Sprintf("; did you mean %s?", strings.Join(near, " or "))
			}
			return usagef("no command %q%s (see `outrider --help`)", args[0], hint)
		},
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SuggestionsMinimumDistance = 2
	root.CompletionOptions.HiddenDefaultCmd = true
	f := root.PersistentFlags()
	f.String("config", "", "configuration file (YAML); default: outrider.yaml in the working folder, if there")
	f.String("log-level", "", "debug, info, warn or error (log.level)")
	f.String("log-format", "", "text or json (log.format)")
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usagef("%w (see `%s --help`)", err, c.CommandPath())
	})
	root.AddCommand(newDemo(), newGenerate(), newChat(), newTalk(), newCloud(), newEdge(), newKeys(), newCerts(), newModels(), newBench(), newSimulate(), newRouter(), newPrivacy(), newDrafts(), newStats(), newHealth(), newConfig(), newDoctor(), newInstall(), newPlugin())
	return root
}

// version is the module's version and where it runs.
func version() string {
	v, revision := telemetry.Version()
	if revision != "" && v == "devel" {
		v += " " + revision[:min(12, len(revision))]
	}
	return fmt.Sprintf("%s (%s %s/%s)", v, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

// noArgs refuses positional arguments with a hint.
func noArgs(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef("unexpected argument %q (see `%s --help`)", args[0], c.CommandPath())
	}
	return nil
}

// oneLine is the text of an error for a person: one line, without gRPC's wrapping.
func oneLine(err error) string {
	s := err.Error()
	if st, ok := status.FromError(err); ok && strings.HasPrefix(s, "rpc error:") {
		s = st.Message()
	}
	return terminal.Clean(strings.Join(strings.Fields(strings.ReplaceAll(s, "\n", "; ")), " "))
}

// newLogger logs to w; the level can be changed later.
func newLogger(c LogConfig, w io.Writer) (*slog.LevelVar, *slog.Logger, error) {
	level := &slog.LevelVar{}
	if err := setLevel(level, c.Level); err != nil {
		return nil, nil, err
	}
	o := &slog.HandlerOptions{Level: level}
	switch c.Format {
	case "text":
		h := slog.Handler(slog.NewTextHandler(w, o))
		if isTerminal(w) {
			h = console{h, &foot{w: w}}
		}
		return level, slog.New(h), nil
	case "json":
		return level, slog.New(slog.NewJSONHandler(w, o)), nil
	}
	return nil, nil, usagef("log.format is %q, must be text or json", c.Format)
}

func setLevel(level *slog.LevelVar, name string) error {
	if err := level.UnmarshalText([]byte(name)); err != nil {
		return usagef("log.level is %q, must be debug, info, warn or error", name)
	}
	return nil
}
