package main

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/outrider-llm/outrider/drafter/suffix"
)

// openSuffix reads what earlier answers taught; an unusable file is told of and begun anew. Empty path: nil.
func openSuffix(path string, log *slog.Logger) *suffix.Store {
	if path == "" {
		return nil
	}
	s, err := suffix.Open(path)
	if err != nil {
		log.Warn("learned drafts begin anew", "error", err)
	}
	return s
}

func newDrafts() *cobra.Command {
	c := &cobra.Command{
		Use:   "drafts",
		Short: "Show or forget what an edge has learned from answers to propose",
		Long: `An edge with a file for it (edge.suffix) keeps the answers that the target gave, and proposes what they said where
a text goes on like one of them. Answers are kept apart by user, by cloud, target and privacy policy, and by vocabulary.
The file stays on this device. A running edge forgets within one request what is forgotten here.`,
		Example: "  outrider drafts list --file learned.drafts\n  outrider drafts forget --file learned.drafts --user ada",
		Args:    noArgs,
	}
	var file string
	c.PersistentFlags().StringVar(&file, "file", "", "the file (edge.suffix); needed")
	c.AddCommand(draftsList(&file), draftsForget(&file))
	return c
}

func openDrafts(file string) (*suffix.Store, error) {
	if file == "" {
		return nil, usagef("which file? Give --file, what edge.suffix names")
	}
	return suffix.Open(file)
}

func draftsList(file *string) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use: "list", Short: "Show whose answers are kept, and how much", Args: noArgs,
		Example: "  outrider drafts list --file learned.drafts",
		RunE: func(c *cobra.Command, _ []string) error {
			s, err := openDrafts(*file)
			if err != nil {
				return err
			}
			w := c.OutOrStdout()
			if asJSON {
				return json.NewEncoder(w).Encode(s.List())
			}
			t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
			fmt.Fprintln(t, "USER\tFOR\tANSWERS\tTOKENS\tLAST LEARNED")
			for _, i := range s.List() {
				fmt.Fprintf(t, "%q\t%q\t%d\t%d\t%s\n", i.User, i.Label, i.Answers, i.Tokens, i.Used.Format(time.DateTime))
			}
			return t.Flush()
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func draftsForget(file *string) *cobra.Command {
	var user string
	var all bool
	c := &cobra.Command{
		Use: "forget", Short: "Forget one user's answers, or all", Args: noArgs,
		Example: "  outrider drafts forget --file learned.drafts --user ada\n  outrider drafts forget --file learned.drafts --all",
		RunE: func(c *cobra.Command, _ []string) error {
			if all == c.Flags().Changed("user") {
				return usagef("whose? Give --user NAME (empty for requests without one) or --all")
			}
			s, err := openDrafts(*file)
			if err != nil {
				return err
			}
			var n int
			if all {
				n = s.ForgetAll()
			} else {
				n = s.Forget(user)
			}
			if err := s.Save(); err != nil {
				return err
			}
			fmt.Fprintf(c.OutOrStdout(), "%d forgotten\n", n)
			return nil
		},
	}
	c.Flags().StringVar(&user, "user", "", "whose answers")
	c.Flags().BoolVar(&all, "all", false, "everybody's")
	return c
}
