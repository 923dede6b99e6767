package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"github.com/outrider-llm/outrider/cmd/outrider/terminal"
	outriderv1 "github.com/outrider-llm/outrider/proto/outrider/v1"
)

func newChat() *cobra.Command {
	var r requestFlags
	var colour, system string
	var asJSON, noHistory bool
	c := &cobra.Command{
		Use:   "chat [flags] [QUESTION]",
		Short: "Talk to the target, through a running edge",
		Long: `Talk to the target. On a terminal answers stream in colour (accepted, corrected, the target's
own, unverified; what the draft expects next is grey) above a panel of figures, and these commands
work (docs/terminal.md shows how it looks):

` + terminal.Help + `

What is typed is kept in the user's state folder, the last 1000 entries; --no-history keeps nothing.

With a question as argument it is answered and that is all. With standard input piped, each line is a
question of one conversation and standard output holds the answers only, or with --json one object each.`,
		Example: `  outrider chat
  outrider chat "Tell me a story about a dog."
  echo "Tell me a story about a dog." | outrider chat -t 0
  outrider chat --json "Hello" | jq .figures`,
		Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			cfg, err := loadConfig(c)
			if err != nil {
				return err
			}
			req, err := r.request()
			if err != nil {
				return err
			}
			p, err := newPrinter(c.OutOrStdout(), colour)
			if err != nil {
				return err
			}
			edge, err := dialEdge(cfg.Edge.Listen)
			if err != nil {
				return err
			}
			defer func() { _ = edge.Close() }() // nothing is left to lose
			if len(args) == 0 && !asJSON && isTerminal(c.InOrStdin()) && isTerminal(c.OutOrStdout()) {
				h, err := openHistory(noHistory)
				if err != nil {
					fmt.Fprintf(c.ErrOrStderr(), "outrider: what was typed before cannot be read: %s\n", oneLine(err))
				}
				return terminal.Run(c.Context(), terminal.Config{Client: chatEdge{edge}, Request: req, System: system, History: h,
					Colour: colour, Input: c.InOrStdin(), Output: c.OutOrStdout()})
			}
			s := &chat{c: c, edge: edge, req: req, p: p, system: system, asJSON: asJSON}
			return s.run(c.Context(), args)
		},
	}
	r.add(c.Flags())
	addEdgeFlag(c)
	c.Flags().StringVar(&colour, "color", "auto", "auto, always or never")
	c.Flags().StringVar(&system, "system", "", "system message")
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object per answer: text, tokens with their fates, figures")
	c.Flags().BoolVar(&noHistory, "no-history", false, "keep nothing of what is typed, and show nothing of before")
	return c
}

// openHistory opens the history in the user's state folder; a folder that cannot be found is none.
func openHistory(off bool) (*terminal.History, error) {
	dir := os.Getenv("XDG_STATE_HOME")
	if home, err := os.UserHomeDir(); dir == "" && err == nil && runtime.GOOS != "windows" && runtime.GOOS != "darwin" {
		dir = filepath.Join(home, ".local", "state")
	}
	if dir == "" {
		dir, _ = os.UserConfigDir() // none: empty
	}
	if off || dir == "" {
		return &terminal.History{}, nil
	}
	return terminal.OpenHistory(filepath.Join(dir, "outrider", "history"))
}

// chatEdge is an edge as the terminal wants it.
type chatEdge struct{ e *edgeClient }

func (c chatEdge) Ask(ctx context.Context, r *outriderv1.GenerateRequest, emit func(*outriderv1.GenerateResponse)) (*outriderv1.Summary, error) {
	return c.e.generate(ctx, r, emit)
}

func (c chatEdge) Status(ctx context.Context) (*outriderv1.StatusResponse, error) {
	st, err := c.e.Status(ctx, &outriderv1.StatusRequest{})
	if err != nil {
		return nil, c.e.explain(err)
	}
	return st, nil
}

// chat is one conversation without a terminal.
type chat struct {
	c        *cobra.Command
	edge     *edgeClient
	req      *outriderv1.GenerateRequest
	p        *printer
	system   string
	asJSON   bool
	messages []*outriderv1.Message
}

func (s *chat) run(ctx context.Context, args []string) error {
	if len(args) > 0 {
		return s.ask(ctx, strings.Join(args, " "))
	}
	in := bufio.NewReader(s.c.InOrStdin())
	for ctx.Err() == nil {
		line, err := readLine(in)
		if errors.Is(err, io.EOF) && line == "" {
			return nil
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		if err := s.ask(ctx, line); err != nil {
			return err // a script must notice
		}
	}
	return ctx.Err()
}

// readLine reads a line of bounded length.
func readLine(in *bufio.Reader) (string, error) {
	var b strings.Builder
	for {
		part, err := in.ReadSlice('\n')
		b.Write(part)
		switch {
		case b.Len() > maxPrompt:
			return "", usagef("a question is longer than %d MiB", maxPrompt>>20)
		case !errors.Is(err, bufio.ErrBufferFull):
			return b.String(), err
		}
	}
}

// ask sends the conversation with a new question and prints the answer.
func (s *chat) ask(ctx context.Context, question string) error {
	if err := checkPrompt(question); err != nil {
		return err
	}
	s.messages = append(s.messages, &outriderv1.Message{Role: "user", Content: question})
	all := s.messages
	if s.system != "" {
		all = append([]*outriderv1.Message{{Role: "system", Content: s.system}}, all...)
	}
	s.req.Input = &outriderv1.GenerateRequest_Conversation{Conversation: &outriderv1.Conversation{Messages: all}}
	var answer string
	if s.asJSON {
		text, err := generateJSON(ctx, s.c.OutOrStdout(), s.edge, s.req)
		if err != nil {
			return err
		}
		answer = text
	} else {
		var b strings.Builder
		sum, err := s.edge.generate(ctx, s.req, func(m *outriderv1.GenerateResponse) {
			for _, t := range m.GetTokens() {
				b.WriteString(t.GetText())
			}
			b.WriteString(m.GetTail())
			s.p.response(m)
		})
		if answer = b.String(); answer != "" || err == nil {
			fmt.Fprintln(s.c.OutOrStdout())
		}
		if err = firstOf(err, s.p.failed(), lateEnd(sum)); err != nil {
			return err
		}
	}
	if strings.TrimSpace(answer) == "" {
		answer = "…" // a turn without text is no turn to any template
	}
	s.messages = append(s.messages, &outriderv1.Message{Role: "assistant", Content: answer})
	return nil
}
