package engines

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/bench/workload"
	"github.com/outrider-llm/outrider/gguf"
	"github.com/outrider-llm/outrider/models"
	"github.com/outrider-llm/outrider/tokenizer"
)

// Config says what to compare.
type Config struct {
	First, Other               backend.Loader
	FirstOptions, OtherOptions map[string]string
	Models                     []string // GGUF files or embedded models
	Types                      []string // f32, f16, file (as it is)
	Prompts                    []string
	Tokens                     int   // per prompt
	Rows                       []int // of the passes to time
	Rounds                     int
	Say                        func(string, ...any) // progress, may be nil
}

// Result is one model in one type.
type Result struct {
	Model  string  `json:"model"`
	Type   string  `json:"type"`
	First  string  `json:"first"` // numerics
	Other  string  `json:"other"`
	Parity Parity  `json:"parity"`
	Speed  []Speed `json:"speed"`
	Error  string  `json:"error,omitempty"` // why it was not compared
}

// Run compares the engines on every model in every type. A model that one of them refuses has an
// Error in its result.
func Run(ctx context.Context, c Config) ([]Result, error) {
	dir, err := os.MkdirTemp("", "outrider-engines-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }() // in the folder for such things
	var out []Result
	for _, model := range c.Models {
		for _, kind := range c.Types {
			r, err := c.run(ctx, model, kind, dir)
			if ctx.Err() != nil {
				return out, ctx.Err()
			}
			if err != nil {
				r.Error = err.Error()
			}
			if c.Say != nil {
				c.Say("%s %s: %d of %d identical %s", filepath.Base(model), kind, r.Parity.Identical, r.Parity.Prompts, r.Error)
			}
			out = append(out, r)
		}
	}
	return out, nil
}

func (c Config) run(ctx context.Context, model, kind, dir string) (Result, error) {
	r := Result{Model: strings.TrimSuffix(filepath.Base(model), ".gguf"), Type: kind}
	tok, path, err := prepare(model, kind, dir)
	if err != nil {
		return r, err
	}
	a, err := c.First(ctx, path, maps.Clone(c.FirstOptions), nil)
	if err != nil {
		return r, err
	}
	defer closeModel(a)
	b, err := c.Other(ctx, path, maps.Clone(c.OtherOptions), nil)
	if err != nil {
		return r, err
	}
	defer closeModel(b)
	r.First, r.Other = a.Info().Numerics, b.Info().Numerics
	var prompts [][]backend.Token
	limit := min(a.Info().ContextLength, b.Info().ContextLength)
	for _, p := range c.Prompts {
		prompts = append(prompts, fit(tok.Encode(p, tokenizer.Options{AddBOS: tok.AddBOS()}), limit, c.Tokens))
	}
	if r.Parity, err = Compare(ctx, a, b, prompts, c.Tokens); err != nil {
		return r, err
	}
	if len(c.Rows) > 0 {
		r.Speed, err = Race(ctx, a, b, c.Rows, c.Rounds)
	}
	return r, err
}

// Stories are n different beginnings of stories, in the language of the demo pair.
func Stories(n int) []string {
	all := workload.Stories(8)
	out := make([]string, n)
	for i := range out {
		words := strings.Fields(all[i/len(all)%len(all)])
		out[i] = all[i%len(all)]
		if i >= len(all) { // the first once as they are, then with the first words of another
			out[i] += " " + strings.Join(words[:min(len(words), 2+i/(len(all)*len(all)))], " ")
		}
	}
	return out
}

func closeModel(m backend.Model) {
	if c, ok := m.(io.Closer); ok {
		_ = c.Close() // it was only read from
	}
}

// prepare opens a model and, unless it is to stay as it is, writes a copy in another type.
func prepare(model, kind, dir string) (*tokenizer.Tokenizer, string, error) {
	types := map[string]gguf.Type{"f32": gguf.F32, "f16": gguf.F16}
	f, err := openModel(model)
	if err != nil {
		return nil, "", err
	}
	defer func() { _ = f.Close() }() // it was only read
	tok, err := tokenizer.FromGGUF(f)
	if err != nil || kind == "file" {
		return tok, model, err
	}
	to, ok := types[kind]
	if !ok {
		return nil, "", fmt.Errorf("type %q, must be f32, f16 or file", kind)
	}
	path := filepath.Join(dir, kind+".gguf")
	return tok, path, Convert(f, path, to)
}

func openModel(model string) (*gguf.File, error) {
	if b, ok := models.Embedded(model); ok {
		return gguf.NewReader(bytes.NewReader(b), int64(len(b)))
	}
	return gguf.Open(model)
}

// Print writes the results as a table.
func Print(w io.Writer, results []Result) error {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprint(t, "MODEL\tTYPE\tIDENTICAL\tWIDEST GAP")
	rows := 0
	for _, r := range results {
		for _, s := range r.Speed[min(rows, len(r.Speed)):] {
			fmt.Fprintf(t, "\t%s", label(s.Rows))
			rows++
		}
	}
	fmt.Fprintln(t)
	for _, r := range results {
		if r.Error != "" {
			fmt.Fprintf(t, "%s\t%s\tnot compared: %s\n", r.Model, r.Type, r.Error)
			continue
		}
		fmt.Fprintf(t, "%s\t%s\t%d of %d\t%.2g", r.Model, r.Type, r.Parity.Identical, r.Parity.Prompts, r.Parity.Widest())
		for _, s := range r.Speed {
			fmt.Fprintf(t, "\t%.0f / %.0f µs = %.2f", s.First, s.Other, s.Ratio)
		}
		fmt.Fprintln(t)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	const most = 5 // of a model; JSON has them all
	for _, r := range results {
		for i, d := range r.Parity.Differ {
			if i == most {
				fmt.Fprintf(w, "%s %s: and %d more\n", r.Model, r.Type, len(r.Parity.Differ)-most)
				break
			}
			fmt.Fprintf(w, "%s %s, prompt %d: part at token %d (%d, %d); the highest two logits differ by %.2g and %.2g there\n",
				r.Model, r.Type, d.Prompt, d.Position, d.Token, d.Other, d.Gap, d.OtherGap)
		}
	}
	return nil
}

func label(rows int) string {
	if rows == 1 {
		return "DECODE"
	}
	return fmt.Sprintf("SCORE %d", rows)
}
