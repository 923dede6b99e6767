package main

import (
	"fmt"
	"os/exec"

	"github.com/spf13/cobra"
)

// newEngines runs the comparison in the llama.cpp plugin, which has both engines in one process.
func newEngines() *cobra.Command {
	return &cobra.Command{
		Use:   "engines [flags]",
		Short: "Compare the reference engine with llama.cpp: same tokens, speed",
		Long: `Decode greedily from many prompts with the reference engine and with llama.cpp and report where they part
and how near the two tokens were there; then time passes of 1, 4, 8 and 16 rows, the engines taking turns.
"outrider bench engines --help" lists the flags.`,
		Example:            "  outrider bench engines\n  outrider bench engines --model llama-1b-f16.gguf --types f16 --threads 4",
		DisableFlagParsing: true,
		RunE: func(c *cobra.Command, args []string) error {
			plugin, err := findLlamacpp()
			if err != nil {
				return err
			}
			cmd := exec.CommandContext(c.Context(), plugin, append([]string{"bench"}, args...)...)
			cmd.Stdout, cmd.Stderr = c.OutOrStdout(), c.ErrOrStderr()
			if err := cmd.Run(); err != nil {
				return fmt.Errorf("the comparison failed: %w", err)
			}
			return nil
		},
	}
}
