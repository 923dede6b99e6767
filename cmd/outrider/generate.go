package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/outrider-llm/outrider/edge"
	outriderv1 "github.com/outrider-llm/outrider/proto/outrider/v1"
)

func newGenerate() *cobra.Command {
	var r requestFlags
	var colour string
	var asJSON, stats bool
	c := &cobra.Command{
		Use:   "generate [flags] [PROMPT]",
		Short: "Continue a text, through a running edge",
		Long: `Continue a text. The edge (see "outrider edge") drafts, its cloud verifies; text streams
as it is decided, coloured by how each token came when standard output is a terminal.
The prompt comes from the argument or from standard input.`,
		Example: `  outrider generate "Once upon a time"
  outrider generate -t 0 -n 64 --json "One day, a little dog" | jq .figures
  cat story.txt | outrider generate > more.txt`,
		Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			cfg, err := loadConfig(c)
			if err != nil {
				return err
			}
			prompt, err := readPrompt(c.InOrStdin(), args)
			if err != nil {
				return err
			}
			req, err := r.request()
			if err != nil {
				return err
			}
			req.Input = &outriderv1.GenerateRequest_Prompt{Prompt: prompt}
			p, err := newPrinter(c.OutOrStdout(), colour)
			if err != nil {
				return err
			}
			edge, err := dialEdge(cfg.Edge.Listen)
			if err != nil {
				return err
			}
			defer func() { _ = edge.Close() }() // nothing is left to lose
			if asJSON {
				_, err := generateJSON(c.Context(), c.OutOrStdout(), edge, req)
				return err
			}
			sum, err := edge.generate(c.Context(), req, p.response)
			if p.text && p.err == nil {
				_, p.err = fmt.Fprintln(c.OutOrStdout())
			}
			if err = firstOf(err, p.failed(), lateEnd(sum)); err != nil {
				return err
			}
			if stats || isTerminal(c.OutOrStdout()) {
				fmt.Fprintln(c.ErrOrStderr(), p.faint(statusLine(sum)))
			}
			return nil
		},
	}
	f := c.Flags()
	r.add(f)
	addEdgeFlag(c)
	f.StringVar(&colour, "color", "auto", "auto, always or never")
	f.BoolVar(&asJSON, "json", false, "print one JSON object at the end: text, tokens with their fates, figures")
	f.BoolVar(&stats, "stats", false, "print the status line to standard error even when piped")
	return c
}

// failed says that the text could not be written.
func (p *printer) failed() error {
	if p.err != nil {
		return fmt.Errorf("the answer could not be written: %w", p.err)
	}
	return nil
}

// lateEnd is an error when the deadline cut the answer off: a script must notice.
func lateEnd(s *outriderv1.Summary) error {
	if s.GetFinish() == outriderv1.Finish_FINISH_DEADLINE {
		return fmt.Errorf("the deadline passed after %d tokens: the answer is not finished", s.GetGeneratedTokens())
	}
	return nil
}

// addEdgeFlag adds --edge, the address of a running edge.
func addEdgeFlag(c *cobra.Command) {
	c.Flags().String("edge", edgeAddr, "address of the running edge (edge.listen)")
	bind(c.Flags(), map[string]string{"edge": "edge.listen"})
}

func readPrompt(in io.Reader, args []string) (string, error) {
	prompt := strings.Join(args, " ")
	if len(args) == 0 && !isTerminal(in) {
		b, err := io.ReadAll(io.LimitReader(in, maxPrompt+1))
		if err != nil {
			return "", err
		}
		prompt = strings.TrimSuffix(string(b), "\n")
	}
	if len(prompt) > maxPrompt {
		return "", usagef("the prompt is longer than %d MiB", maxPrompt>>20)
	}
	return prompt, checkPrompt(prompt)
}

// maxPrompt bounds a prompt in bytes.
const maxPrompt = edge.MaxPromptBytes

type jsonToken struct {
	ID         uint32 `json:"id"`
	Text       string `json:"text"`
	Fate       string `json:"fate"`
	Late       bool   `json:"late,omitempty"`
	Unverified bool   `json:"unverified,omitempty"`
}

// generateJSON prints one object and returns the text.
func generateJSON(ctx context.Context, w io.Writer, edge *edgeClient, req *outriderv1.GenerateRequest) (string, error) {
	var text strings.Builder
	tokens := []jsonToken{}
	sum, err := edge.generate(ctx, req, func(m *outriderv1.GenerateResponse) {
		for _, t := range m.GetTokens() {
			text.WriteString(t.GetText())
			tokens = append(tokens, jsonToken{t.GetId(), t.GetText(), fateName(t.GetFate()), t.GetLate(), t.GetUnverified()})
		}
		text.WriteString(m.GetTail())
	})
	if err != nil {
		return "", err
	}
	var f figures
	f.add(sum)
	return text.String(), json.NewEncoder(w).Encode(ruleJSON(sum, map[string]any{
		"text": text.String(), "tokens": tokens, "figures": f, "exact": sum.GetExact(), "resumes": sum.GetResumes(),
		"routing": routingJSON(sum.GetRouting()),
		"finish":  strings.ToLower(strings.TrimPrefix(sum.GetFinish().String(), "FINISH_")),
	}))
}

func fateName(f outriderv1.Fate) string {
	return strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(f.String(), "FATE_")), "_", "-")
}
