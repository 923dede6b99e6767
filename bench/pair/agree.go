package pair

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/bench/trace"
	"github.com/outrider-llm/outrider/speculative"
)

// Config of a measurement.
type Config struct {
	Target, Draft backend.Model
	Prompts       [][]backend.Token
	Tokens        int // per prompt
	Temperature   float32
	Seed          uint64
	Step          func(done, all int) // after each prompt
	// Trace, if set, is handed each prompt's positions: what became of the draft's choice (package trace),
	// and how sure of it the draft was.
	Trace func(prompt int, outcome string, confidence []float32)
}

// Agreement of a draft with a target on the target's own text: whatever the target wrote, would the
// draft, after the same text and with the same noise, have chosen the next token too?
type Agreement struct {
	Temperature float32 `json:"temperature"`
	Tokens      int     `json:"tokens"`
	Agreed      int     `json:"agreed"`
	Second      int     `json:"second"` // of the others, the draft's runner-up was right
	Rate        float64 `json:"rate"`
	// Length is the mean acceptance length (committed tokens per target pass) when Depth tokens are
	// proposed at a time.
	Length map[int]float64 `json:"length"`
}

// Depths for which an acceptance length is worked out.
var depths = [...]int{2, 4, 8}

// Speeds measured on the way, of this machine. Zero: not measured.
type Speeds struct {
	Target, Draft time.Duration // of one token
	Row           time.Duration // what each further row of a pass costs the target
}

// ErrTooLong says that no prompt leaves room in the models' contexts.
var ErrTooLong = errors.New("the prompts do not fit the context")

const sequence backend.Sequence = 1

// Measure lets the target write, then asks the draft about every token.
func Measure(ctx context.Context, c Config) (Agreement, Speeds, error) {
	a := Agreement{Temperature: c.Temperature, Length: map[int]float64{}}
	var target, draft, rows []time.Duration
	var runs [][]bool
	for i, p := range c.Prompts {
		w := writer{c: &c, seed: c.Seed + uint64(i)}
		if err := w.run(ctx, p); err != nil {
			if errors.Is(err, ErrTooLong) {
				continue
			}
			return a, Speeds{}, err
		}
		target, draft, rows = append(target, w.target...), append(draft, w.draft...), append(rows, w.row...)
		runs = append(runs, w.agreed)
		if c.Trace != nil {
			c.Trace(i, string(w.outcome), w.confidence)
		}
		a.Tokens += len(w.agreed)
		a.Second += w.second
		for _, ok := range w.agreed {
			if ok {
				a.Agreed++
			}
		}
		if c.Step != nil {
			c.Step(i+1, len(c.Prompts))
		}
	}
	if a.Tokens == 0 {
		return a, Speeds{}, ErrTooLong
	}
	a.Rate = float64(a.Agreed) / float64(a.Tokens)
	for _, d := range depths {
		a.Length[d] = length(runs, d)
	}
	return a, Speeds{Target: median(target), Draft: median(draft), Row: median(rows)}, nil
}

// length is how many tokens each pass commits when depth tokens are proposed at a time: those that
// agree up to the first that does not, and the target's own.
func length(runs [][]bool, depth int) float64 {
	tokens, passes := 0, 0
	for _, r := range runs {
		for i := 0; i < len(r); passes++ {
			n := 0
			for n < depth && i+n < len(r) && r[i+n] {
				n++
			}
			n = min(n+1, len(r)-i)
			tokens += n
			i += n
		}
	}
	if passes == 0 {
		return 0
	}
	return float64(tokens) / float64(passes)
}

func median(d []time.Duration) time.Duration {
	if len(d) == 0 {
		return 0
	}
	slices.Sort(d)
	return d[len(d)/2]
}

// writer is one prompt.
type writer struct {
	c                  *Config
	seed               uint64
	log                []backend.Token
	agreed             []bool
	outcome            []byte
	confidence         []float32
	second             int
	target, draft, row []time.Duration
}

func (w *writer) run(ctx context.Context, prompt []backend.Token) error {
	room := min(w.c.Target.Info().ContextLength, w.c.Draft.Info().ContextLength)
	n := min(w.c.Tokens, room-len(prompt)-1)
	if n < 1 || len(prompt) == 0 {
		return ErrTooLong
	}
	w.log = slices.Clone(prompt)
	if err := w.write(ctx, n); err != nil {
		return fmt.Errorf("the target: %w", err)
	}
	if err := w.judge(ctx, len(prompt)); err != nil {
		return fmt.Errorf("the draft: %w", err)
	}
	return errors.Join(w.c.Target.Release(ctx, []backend.Sequence{sequence}), w.c.Draft.Release(ctx, []backend.Sequence{sequence}))
}

func (w *writer) setup(prompt int) *backend.Setup {
	return &backend.Setup{Params: speculative.Params{Temperature: w.c.Temperature, Seed: w.seed}, PromptLength: prompt}
}

// chunk is how many rows of a prompt are run at a time.
const chunk = 256

// feed runs log[:n] and returns the choices after each token from position from on.
func feed(ctx context.Context, m backend.Model, log []backend.Token, from int, setup *backend.Setup) ([]speculative.Choice, error) {
	var out []speculative.Choice
	for at := 0; at < len(log); at += chunk {
		part := log[at:min(at+chunk, len(log))]
		c, err := forward(ctx, m, backend.Segment{Sequence: sequence, Start: at, Tokens: part,
			From: min(max(from-at, 0), len(part)), Setup: setup})
		if err != nil {
			return nil, err
		}
		out = append(out, c...)
		setup = nil
	}
	return out, nil
}

func forward(ctx context.Context, m backend.Model, s backend.Segment) ([]speculative.Choice, error) {
	r, err := m.Forward(ctx, []backend.Segment{s})
	if err != nil {
		return nil, err
	}
	if r[0].Err != nil {
		return nil, r[0].Err
	}
	if want := len(s.Tokens) - s.From; len(r[0].Choices) != want {
		return nil, fmt.Errorf("the engine gave %d choices instead of %d", len(r[0].Choices), want)
	}
	return r[0].Choices, nil
}

// write lets the target generate, one token at a time.
func (w *writer) write(ctx context.Context, n int) error {
	prompt := len(w.log)
	c, err := feed(ctx, w.c.Target, w.log, prompt-1, w.setup(prompt))
	if err != nil {
		return err
	}
	ends := w.c.Target.Info().EndTokens
	for {
		t := c[0].Token
		w.log = append(w.log, t)
		if len(w.log)-prompt == n || slices.Contains(ends, t) {
			return w.rows(ctx, prompt)
		}
		began := time.Now()
		if c, err = forward(ctx, w.c.Target, backend.Segment{Sequence: sequence, Start: len(w.log) - 1, Tokens: w.log[len(w.log)-1:]}); err != nil {
			return err
		}
		w.target = append(w.target, time.Since(began))
	}
}

// scored is how many rows a pass has whose cost is compared with that of a pass with one.
const scored = 9

// rows measures what further rows cost, by running the last ones again in one pass.
func (w *writer) rows(ctx context.Context, prompt int) error {
	at := len(w.log) - 1 - scored
	if at < prompt || len(w.target) == 0 {
		return nil
	}
	began := time.Now()
	if _, err := forward(ctx, w.c.Target, backend.Segment{Sequence: sequence, Start: at, Tokens: w.log[at : at+scored]}); err != nil {
		return err
	}
	took := time.Since(began)
	w.row = append(w.row, max(0, (took-median(slices.Clone(w.target)))/(scored-1)))
	return nil
}

// judge asks the draft what it would have said at each place, then times a few steps of it.
func (w *writer) judge(ctx context.Context, prompt int) error {
	size := w.c.Draft.Info().VocabularySize
	known := w.log[:len(w.log)-1]
	if i := slices.IndexFunc(known, func(t backend.Token) bool { return int(t) >= size }); i >= 0 {
		if i < prompt {
			return ErrTooLong // a token that the draft does not have is in the prompt
		}
		known = known[:i] // from there on nothing can be drafted
	}
	c, err := feed(ctx, w.c.Draft, known, prompt-1, w.setup(prompt))
	if err != nil {
		return err
	}
	w.agreed = make([]bool, len(w.log)-prompt)
	w.outcome, w.confidence = bytes.Repeat([]byte{trace.Miss}, len(w.agreed)), make([]float32, len(w.agreed))
	for i, x := range c {
		want := w.log[prompt+i]
		w.confidence[i] = min(max(x.Confidence, 0), 1)
		if w.agreed[i] = x.Token == want; w.agreed[i] {
			w.outcome[i] = trace.Hit
		} else if x.Second == want {
			w.second++
			w.outcome[i] = trace.Second
		}
	}
	for at := max(prompt, len(known)-8); at < len(known); at++ {
		began := time.Now()
		if _, err := forward(ctx, w.c.Draft, backend.Segment{Sequence: sequence, Start: at, Tokens: known[at : at+1]}); err != nil {
			return err
		}
		w.draft = append(w.draft, time.Since(began))
	}
	return nil
}
