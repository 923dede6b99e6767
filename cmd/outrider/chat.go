package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	outriderv1 "github.com/outrider-llm/outrider/proto/outrider/v1"
)

const chatHelp = `/reset   forget the conversation
/system  TEXT sets the system message (and forgets the conversation)
/retry   answer the last question again
/stats   show or hide the status line
/help    this text
/quit    end (also Ctrl-D); Ctrl-C stops an answer`

func newChat() *cobra.Command {
	var r requestFlags
	var colour, system string
	c := &cobra.Command{
		Use:   "chat",
		Short: "Talk to the target, through a running edge",
		Long: `Talk to the target. On a terminal answers stream in colour (accepted, corrected, the target's
own, unverified) with a status line of acceptance and ms/token, and these commands work:

` + chatHelp + `

With standard input piped, each line is a question and standard output holds the answers only.`,
		Example: `  outrider chat
  echo "Tell me a story about a dog." | outrider chat -t 0`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
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
			s := &chat{edge: edge, req: req, p: p, out: c.OutOrStdout(), err: c.ErrOrStderr(), system: system, stats: true}
			return s.run(c.Context(), c.InOrStdin())
		},
	}
	r.add(c.Flags())
	addEdgeFlag(c)
	c.Flags().StringVar(&colour, "color", "auto", "auto, always or never")
	c.Flags().StringVar(&system, "system", "", "system message")
	return c
}

// chat is one conversation at the terminal.
type chat struct {
	edge     *edgeClient
	req      *outriderv1.GenerateRequest
	p        *printer
	out, err io.Writer
	system   string
	messages []*outriderv1.Message
	stats    bool
	tty      bool
}

func (s *chat) run(ctx context.Context, in io.Reader) error {
	f, ok := in.(*os.File)
	s.tty = ok && term.IsTerminal(int(f.Fd())) && isTerminal(s.out)
	read, restore := s.lines(f, in)
	defer restore()
	if s.tty {
		if err := s.greet(ctx); err != nil {
			return err
		}
	}
	for ctx.Err() == nil {
		line, err := read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		quit, err := s.line(ctx, line)
		if quit {
			return nil
		}
		if err == nil {
			continue
		}
		if !s.tty {
			return err // a script must notice
		}
		fmt.Fprintf(s.err, "outrider: %s\n", oneLine(err))
	}
	return ctx.Err()
}

func (s *chat) greet(ctx context.Context) error {
	st, err := s.edge.Status(ctx, &outriderv1.StatusRequest{})
	if err != nil {
		return s.edge.explain(err)
	}
	target := "no cloud in reach"
	if ts := st.GetTargets(); len(ts) > 0 {
		target = ts[0].GetName()
	}
	fmt.Fprintf(s.out, "%s drafts for %s. /help lists the commands.\n%s\n", st.GetDraft(), target, s.p.legend())
	if n := st.GetNote(); n != "" {
		fmt.Fprintln(s.out, n)
	}
	return nil
}

// lines returns a function that reads a line, with editing and history on a terminal, and one that
// undoes what it did to the terminal.
func (s *chat) lines(f *os.File, in io.Reader) (read func() (string, error), restore func()) {
	if !s.tty {
		r := bufio.NewReader(in)
		return func() (string, error) {
			line, err := r.ReadString('\n')
			if line != "" {
				err = nil
			}
			return line, err
		}, func() {}
	}
	t := term.NewTerminal(struct {
		io.Reader
		io.Writer
	}{f, s.out}, "> ")
	return func() (string, error) {
		old, err := term.MakeRaw(int(f.Fd())) // only while a line is edited
		if err != nil {
			return "", err
		}
		if w, h, err := term.GetSize(int(f.Fd())); err == nil && w > 0 {
			_ = t.SetSize(w, h) // a wrong size only misplaces the cursor
		}
		line, err := t.ReadLine()
		_ = term.Restore(int(f.Fd()), old) // nothing better to do
		return line, err
	}, func() {}
}

// line handles one line of input.
func (s *chat) line(ctx context.Context, line string) (quit bool, err error) {
	if !strings.HasPrefix(line, "/") {
		return false, s.ask(ctx, line)
	}
	command, rest, _ := strings.Cut(line, " ")
	switch command {
	case "/quit", "/exit":
		return true, nil
	case "/help":
		fmt.Fprintln(s.out, chatHelp)
	case "/reset":
		s.messages = nil
	case "/system":
		s.system, s.messages = strings.TrimSpace(rest), nil
	case "/stats":
		s.stats = !s.stats
	case "/retry":
		if n := len(s.messages); n >= 2 {
			q := s.messages[n-2].GetContent()
			s.messages = s.messages[:n-2]
			s.req.Sampling.Seed++
			return false, s.ask(ctx, q)
		}
		fmt.Fprintln(s.out, "nothing to answer again")
	default:
		fmt.Fprintf(s.out, "no command %s; /help lists them\n", command)
	}
	return false, nil
}

// ask sends the conversation with a new question and streams the answer. Ctrl-C stops the answer
// and keeps what there is of it.
func (s *chat) ask(ctx context.Context, question string) error {
	if err := checkPrompt(question); err != nil {
		return err
	}
	if s.tty {
		var stop context.CancelFunc
		ctx, stop = signal.NotifyContext(context.WithoutCancel(ctx), os.Interrupt)
		defer stop()
	}
	messages := append(s.messages[:len(s.messages):len(s.messages)], &outriderv1.Message{Role: "user", Content: question})
	all := messages
	if s.system != "" {
		all = append([]*outriderv1.Message{{Role: "system", Content: s.system}}, messages...)
	}
	s.req.Input = &outriderv1.GenerateRequest_Conversation{Conversation: &outriderv1.Conversation{Messages: all}}
	var answer strings.Builder
	sum, err := s.edge.generate(ctx, s.req, func(m *outriderv1.GenerateResponse) {
		for _, t := range m.GetTokens() {
			answer.WriteString(t.GetText())
		}
		answer.WriteString(m.GetTail())
		s.p.response(m)
	})
	if answer.Len() > 0 || err == nil {
		fmt.Fprintln(s.out)
	}
	if errors.Is(err, context.Canceled) && s.tty {
		err = nil
	}
	if err != nil {
		return err
	}
	s.messages = append(messages, &outriderv1.Message{Role: "assistant", Content: answer.String()})
	if s.tty && s.stats && sum != nil {
		fmt.Fprintln(s.out, s.p.faint(statusLine(sum)))
	}
	return nil
}
