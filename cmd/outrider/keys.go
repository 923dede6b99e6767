package main

import (
	"fmt"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/outrider-llm/outrider/edge/openai"
)

func newKeys() *cobra.Command {
	c := &cobra.Command{
		Use:   "keys",
		Short: "API keys of the edge: add, list, remove",
		Long: `API keys of the edge. Programs send one as "Authorization: Bearer KEY", which is what OpenAI's
SDKs and chat apps do with theirs. The file holds hashes only, so a key is shown once, when it is made.

An edge that other machines reach needs keys: outrider edge --http 0.0.0.0:7780 --keys FILE.
Changes of the file count within a second, without a restart.

The same files hold the tokens by which edges come into a cloud (cloud.tokens); there NAME is
TENANT/EDGE, see docs/security.md.`,
		Example: `  outrider keys add laptop
  outrider keys add acme/laptop --file tokens    # a token for an edge, see cloud.tokens
  outrider keys list
  outrider keys remove laptop`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.PersistentFlags().String("file", "", "key file; default: edge.keys, else outrider/keys in the user's configuration folder")
	c.AddCommand(
		keysCommand("add NAME", "Make a key and show it, once", 1, func(c *cobra.Command, file, name string) error {
			key, err := openai.AddKey(file, name, time.Now())
			if err != nil {
				return err
			}
			fmt.Fprintln(c.OutOrStdout(), key)
			fmt.Fprintf(c.ErrOrStderr(), "The hash is in %s; an edge asks for keys with --keys %s (edge.keys), a cloud for tokens with cloud.tokens.\n", file, file)
			return nil
		}),
		keysCommand("remove NAME", "Take a key back", 1, func(_ *cobra.Command, file, name string) error { return openai.RemoveKey(file, name) }),
		keysCommand("list", "Show the names of the keys", 0, func(c *cobra.Command, file, _ string) error {
			list, err := openai.ReadKeys(file)
			if err != nil {
				return err
			}
			t := tabwriter.NewWriter(c.OutOrStdout(), 0, 4, 2, ' ', 0)
			for _, k := range list {
				fmt.Fprintf(t, "%s\t%s\n", k.Name, k.Made)
			}
			return t.Flush()
		}))
	return c
}

func keysCommand(use, short string, names int, run func(c *cobra.Command, file, name string) error) *cobra.Command {
	return &cobra.Command{
		Use:   use,
		Short: short,
		Long:  short + ". See `outrider keys --help`.",
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != names {
				return usagef("`outrider keys %s` takes %d arguments, not %d", c.Name(), names, len(args))
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			file, err := keysFile(c)
			if err != nil {
				return err
			}
			return run(c, file, append(args, "")[0])
		},
	}
}

// keysFile is where the keys are.
func keysFile(c *cobra.Command) (string, error) {
	if file, _ := c.Flags().GetString("file"); file != "" {
		return file, nil
	}
	cfg, err := loadConfig(c)
	if err != nil {
		return "", err
	}
	if cfg.Edge.Keys != "" {
		return cfg.Edge.Keys, nil
	}
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", usagef("%w: name the key file with --file", err)
	}
	return filepath.Join(dir, "outrider", "keys"), nil
}
