package main

import (
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/outrider-llm/outrider/edge/router"
)

func newRouter() *cobra.Command {
	c := &cobra.Command{
		Use:   "router",
		Short: "What decides in mode auto: policy, facts, learned score",
		Long: `What decides in mode auto where an answer is written (docs/routing.md): rules of a policy file over
facts, and beside them a score that is learned from recorded outcomes.`,
		Example: `  outrider router policy > policy.yaml
  outrider router check policy.yaml
  outrider router facts
  outrider router train outcomes.jsonl --out score.json
  outrider router eval labelled/*.csv --svg curve.svg`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newRouterPolicy(), newRouterFacts(), newRouterCheck(), newRouterTrain(), newRouterEval())
	return c
}

func newRouterPolicy() *cobra.Command {
	return &cobra.Command{
		Use:   "policy",
		Short: "Print the compiled-in policy, a start for your own",
		Example: `  outrider router policy > policy.yaml
  outrider router check policy.yaml && OUTRIDER_EDGE_ROUTER_POLICY=policy.yaml outrider edge --mode auto`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			_, err := fmt.Fprint(c.OutOrStdout(), router.DefaultText())
			return err
		},
	}
}

func newRouterFacts() *cobra.Command {
	return &cobra.Command{
		Use:     "facts",
		Short:   "List the facts that rules may use",
		Example: `  outrider router facts`,
		Args:    noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			w := tabwriter.NewWriter(c.OutOrStdout(), 0, 4, 2, ' ', 0)
			for _, f := range router.Catalogue() {
				fmt.Fprintf(w, "%s\t%s\t%s\n", f.Name, f.Kind, f.Doc)
			}
			return w.Flush()
		},
	}
}

func newRouterCheck() *cobra.Command {
	return &cobra.Command{
		Use:     "check FILE",
		Short:   "Check a policy file; errors name line and column",
		Example: `  outrider router check policy.yaml`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef("name one policy file (see `%s --help`)", c.CommandPath())
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			if _, err := readPolicy(args[0]); err != nil {
				return err
			}
			_, err := fmt.Fprintf(c.OutOrStdout(), "%s is valid\n", args[0])
			return err
		},
	}
}
