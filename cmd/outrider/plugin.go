package main

import (
	"github.com/spf13/cobra"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/backend/mock"
	"github.com/outrider-llm/outrider/backend/reference"
	"github.com/outrider-llm/outrider/backend/sglang"
	"github.com/outrider-llm/outrider/backend/vllm"
	"github.com/outrider-llm/outrider/perception"
	"github.com/outrider-llm/outrider/perception/local"
	"github.com/outrider-llm/outrider/perception/openaihttp"
)

// newPlugin runs a built-in engine as a plugin: the program re-executes itself with it.
func newPlugin() *cobra.Command {
	return &cobra.Command{
		Use:    "plugin ENGINE",
		Short:  "Run a built-in engine as a plugin (started by outrider itself)",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			switch args[0] {
			case "reference":
				backend.Serve(reference.Load)
			case "mock":
				backend.Serve(mock.Load)
			case "vllm":
				backend.Serve(vllm.Load)
			case "sglang":
				backend.Serve(sglang.Load)
			case "perception-local":
				perception.Serve(local.Open)
			case "perception-openai-http":
				perception.Serve(openaihttp.Open)
			default:
				return usagef("no built-in engine %q: there are reference, mock, vllm and sglang", args[0])
			}
			return nil
		},
	}
}
