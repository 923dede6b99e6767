package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/outrider-llm/outrider/bench/workload"
	"github.com/outrider-llm/outrider/models"
	outriderv1 "github.com/outrider-llm/outrider/proto/outrider/v1"
)

// orNone makes a configured number of things one of a package's, where 0 means its default.
func orNone(n int) int {
	if n == 0 {
		return -1
	}
	return n
}

type turnsFlags struct {
	turns, tokens, repeat int
	temperature           float32
	rtt                   time.Duration
	link                  linkFlag
	pace                  string
	asJSON                bool
}

func newTurns() *cobra.Command {
	var f turnsFlags
	c := &cobra.Command{
		Use:   "turns",
		Short: "What the turns of a conversation send and wait for, with and without kept prefixes",
		Long: `Hold a conversation with edge and cloud processes over an emulated link, once with what both sides
keep of finished turns (cloud.prefixes, edge.conversations) and once without, and print for each
turn the bytes to open it, the prompt's tokens and those that had not to be sent, or run by target
and draft, and the time to the first token (median of the conversations). Ends with an error when
an answer differs.`,
		Example: `  outrider bench turns
  outrider bench turns --turns 8 --rtt 100ms --pace 40ms+1ms --json`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return runTurns(c.Context(), f, c.OutOrStdout()) },
	}
	s := c.Flags()
	s.IntVar(&f.turns, "turns", 5, "turns of a conversation")
	s.IntVar(&f.tokens, "max-tokens", 32, "tokens of an answer")
	s.IntVar(&f.repeat, "conversations", 3, "conversations, one after the other")
	s.Float32Var(&f.temperature, "temperature", 0, "0: the most probable token")
	s.DurationVar(&f.rtt, "rtt", 40*time.Millisecond, "round-trip time of the emulated link")
	s.Var(&f.link, "link", linkUsage)
	s.StringVar(&f.pace, "pace", "40ms+1ms", "emulated cost of the target's step and of a row in it, empty: none")
	s.BoolVar(&f.asJSON, "json", false, "print the result as JSON on the last line")
	return c
}

// turnRow is one turn, with and without kept prefixes.
type turnRow struct {
	Turn      int     `json:"turn"`
	Prompt    int     `json:"prompt_tokens"`
	Named     int     `json:"named_tokens"`       // not sent
	Held      int     `json:"target_held"`        // not run by the target
	DraftHeld int     `json:"draft_held"`         // not run by the draft
	Bytes     int     `json:"open_bytes"`         // to open the turn's stream
	BytesOff  int     `json:"open_bytes_off"`     // the same without kept prefixes
	First     float64 `json:"first_token_ms"`     // median
	FirstOff  float64 `json:"first_token_ms_off"` // median
	Up        int     `json:"uplink_bytes"`       // proposals and acknowledgements
	Down      int     `json:"downlink_bytes"`     // commits
}

type turnsReport struct {
	RTT       float64   `json:"rtt_ms"`
	Pace      string    `json:"pace"`
	Turns     []turnRow `json:"turns"`
	Answers   int       `json:"answers"`
	Identical int       `json:"identical"`
	Whole     int       `json:"known_whole"` // turns that could name all that was said before
}

// turn is what one turn told.
type turn struct {
	text string
	sum  *outriderv1.Summary
}

func runTurns(ctx context.Context, f turnsFlags, w io.Writer) error {
	if f.turns < 1 || f.tokens < 1 || f.repeat < 1 {
		return usagef("--turns, --max-tokens and --conversations must be at least 1")
	}
	on, err := holdTurns(ctx, f, nil, nil)
	if err != nil {
		return err
	}
	off, err := holdTurns(ctx, f, []string{"--prefixes", "0"}, []string{"--conversations", "0"})
	if err != nil {
		return err
	}
	r := turnsOf(f, on, off)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "turn\tprompt\tnot sent\ttarget held\tdraft held\topen\twithout\tfirst token\twithout\t")
	for _, row := range r.Turns {
		fmt.Fprintf(t, "%d\t%d\t%d\t%d\t%d\t%d B\t%d B\t%.0f ms\t%.0f ms\t\n", row.Turn, row.Prompt, row.Named, row.Held, row.DraftHeld,
			row.Bytes, row.BytesOff, row.First, row.FirstOff)
	}
	_ = t.Flush() // w tells when printing the rest
	fmt.Fprintf(w, "%d of %d answers identical with and without; %d of %d later turns named all that was said before\n",
		r.Identical, r.Answers, r.Whole, r.Answers-f.repeat)
	if f.asJSON {
		if err := json.NewEncoder(w).Encode(r); err != nil {
			return err
		}
	}
	if r.Identical != r.Answers {
		return fmt.Errorf("%d of %d answers differ", r.Answers-r.Identical, r.Answers)
	}
	return nil
}

// holdTurns holds all conversations, each by a user of its own.
func holdTurns(ctx context.Context, f turnsFlags, cloudArgs, edgeArgs []string) ([][]turn, error) {
	if f.pace != "" {
		cloudArgs = append(cloudArgs, "--pace", f.pace)
	}
	s, err := startStack(ctx, stackConfig{rtt: f.rtt, link: f.link, draft: models.DraftName, cloudArgs: cloudArgs, edgeArgs: edgeArgs})
	if err != nil {
		return nil, err
	}
	defer s.stop()
	e, err := dialEdge(s.edge.addr())
	if err != nil {
		return nil, err
	}
	defer func() { _ = e.Close() }() // nothing is left to lose
	asks := workload.Stories(f.turns * f.repeat)
	all := make([][]turn, f.repeat)
	for i := range all {
		var said []*outriderv1.Message
		for n := range f.turns {
			said = append(said, &outriderv1.Message{Role: "user", Content: asks[i*f.turns+n] + " Go on with this story."})
			var t turn
			t.sum, err = e.generate(ctx, &outriderv1.GenerateRequest{MaxTokens: uint32(f.tokens), User: fmt.Sprintf("user %d", i),
				Input:    &outriderv1.GenerateRequest_Conversation{Conversation: &outriderv1.Conversation{Messages: said}},
				Sampling: &outriderv1.Sampling{Temperature: f.temperature, Seed: uint64(i*f.turns + n)},
			}, func(m *outriderv1.GenerateResponse) {
				for _, k := range m.GetTokens() {
					t.text += k.GetText()
				}
				t.text += m.GetTail()
			})
			if err != nil {
				return nil, fmt.Errorf("turn %d: %w", n+1, err)
			}
			if all[i] = append(all[i], t); t.text == "" {
				t.text = "." // a conversation holds no empty messages
			}
			said = append(said, &outriderv1.Message{Role: "assistant", Content: t.text})
		}
	}
	return all, nil
}

// turnsOf compares; counts are those of the first conversation.
func turnsOf(f turnsFlags, on, off [][]turn) turnsReport {
	r := turnsReport{RTT: ms(f.link.profile(f.rtt).RTT), Pace: f.pace}
	for n := range f.turns {
		s := on[0][n].sum
		r.Turns = append(r.Turns, turnRow{Turn: n + 1, Prompt: int(s.GetPromptTokens()), Named: int(s.GetPrefixTokens()),
			Held: int(s.GetUsage().GetHeld()), DraftHeld: int(s.GetDraftHeld()), Bytes: int(s.GetOpeningBytes()),
			BytesOff: int(off[0][n].sum.GetOpeningBytes()), First: medianFirst(on, n), FirstOff: medianFirst(off, n),
			Up: int(s.GetUplinkBytes()), Down: int(s.GetDownlinkBytes())})
		for i := range on {
			r.Answers++
			if on[i][n].text == off[i][n].text {
				r.Identical++
			}
			if n == 0 {
				continue
			}
			if before := on[i][n-1].sum; on[i][n].sum.GetPrefixTokens() >= before.GetPromptTokens()+before.GetGeneratedTokens() {
				r.Whole++
			}
		}
	}
	return r
}

// medianFirst is the median time to turn n's first token, in milliseconds.
func medianFirst(all [][]turn, n int) float64 {
	var ms []float64
	for _, t := range all {
		ms = append(ms, float64(t[n].sum.GetFirstTokenUs())/1000)
	}
	slices.SortFunc(ms, cmp.Compare[float64])
	return ms[len(ms)/2]
}
