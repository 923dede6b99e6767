package httpengine

import (
	"fmt"
	"math"
	"os"
	"slices"
	"sync/atomic"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/speculative"
)

// setup is a sequence's sampling as it can be done from the most probable tokens alone.
type setup struct {
	params speculative.Params
	prompt int
}

// setup refuses, or with another option replaces, what the top tokens do not determine.
func (o *options) setup(s *backend.Setup) (*setup, error) {
	p := s.Params
	if err := p.Validate(); err != nil {
		return nil, fmt.Errorf("%w: %w", backend.ErrInvalid, err)
	}
	if s.PromptLength < 0 {
		return nil, fmt.Errorf("%w: prompt length %d", backend.ErrInvalid, s.PromptLength)
	}
	if k := s.Rule.Kind; k != speculative.RuleDefault && k != speculative.Coupled && !(k == speculative.Rejection && p.Temperature == 0) {
		return nil, fmt.Errorf("%w: this engine judges by the coupled rule only: ask for no rule", backend.ErrInvalid)
	}
	if s.Constraint.Kind != "" {
		return nil, fmt.Errorf("%w: this engine shows the %d most probable tokens only, which a grammar may all refuse: ask without one", backend.ErrInvalid, o.top)
	}
	why := ""
	switch {
	case len(p.LogitBias) > 0 || p.PresencePenalty != 0 || p.FrequencyPenalty != 0 || (p.RepetitionPenalty != 0 && p.RepetitionPenalty != 1):
		why = "penalties and logit_bias need every token's score: ask without them"
	case p.Temperature != 0 && p.TopK > o.top, p.Temperature != 0 && p.TopK == 0:
		if o.sampling == "cut" {
			p.TopK = o.top
			break
		}
		why = fmt.Sprintf("it shows the %d most probable tokens: set top_k between 1 and %d, or temperature 0", o.top, o.top)
	}
	if why != "" && o.sampling != "greedy" {
		return nil, fmt.Errorf("%w: this engine cannot sample so, %s", backend.ErrInvalid, why)
	}
	if why != "" {
		p = speculative.Params{}
	}
	return &setup{params: p, prompt: s.PromptLength}, nil
}

// choose makes a segment's choices from its rows.
func (e *Engine) choose(set *setup, seg *backend.Segment, log []backend.Token, rows []Row) (backend.Result, error) {
	s := speculative.NewSampler(set.params, set.prompt)
	first := seg.Start + seg.From
	for _, t := range log[:first] {
		s.Push(t)
	}
	dense := e.dense.Get().(*[]float32)
	defer e.dense.Put(dense)
	var r backend.Result
	for i, row := range rows {
		s.Push(log[first+i])
		row, err := e.known(row)
		if err != nil {
			return r, err
		}
		for _, x := range row {
			(*dense)[x.Token] = x.Logprob
		}
		c := s.Choose(*dense)
		for _, x := range row {
			(*dense)[x.Token] = float32(math.Inf(-1))
		}
		sure := certain(set.params, len(log[:first+i+1]), row, c.Token, e.info.VocabularySize)
		if e.tally.add(sure); !sure && e.o.doubt == "refuse" {
			return r, fmt.Errorf("%w: a token beyond the %d that the server shows may tie with the choice: ask with a smaller top_k", backend.ErrInvalid, len(row))
		}
		r.Choices = append(r.Choices, c)
		if seg.Logprobs > 0 {
			r.Logprobs = append(r.Logprobs, logprobs(row, c.Token, seg.Logprobs-1))
		}
	}
	return r, nil
}

// known sorts a row and drops ids that the vocabulary does not have: rows of padding.
func (e *Engine) known(row Row) (Row, error) {
	out := make(Row, 0, len(row))
	for _, x := range row {
		switch l := float64(x.Logprob); {
		case math.IsNaN(l) || l > 1e-3:
			return nil, fmt.Errorf("%w: the log probability of token %d is %g", backend.ErrNotFinite, x.Token, x.Logprob)
		case x.Token >= 0 && int(x.Token) < e.info.VocabularySize:
			out = append(out, x)
		}
	}
	slices.SortFunc(out, func(a, b speculative.TokenLogprob) int {
		switch {
		case a.Logprob > b.Logprob:
			return -1
		case a.Logprob < b.Logprob:
			return 1
		}
		return int(a.Token - b.Token)
	})
	out = slices.CompactFunc(out, func(a, b speculative.TokenLogprob) bool { return a.Token == b.Token })
	if len(out) < min(e.o.top, e.info.VocabularySize) && len(out) == len(row) {
		return nil, fmt.Errorf("the server shows %d tokens where %d were asked for: raise its limit or lower option top", len(out), e.o.top)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("the server shows no token of the vocabulary: is the tokenizer the model's?")
	}
	return out, nil
}

// certain says whether no token that the row, which is sorted, does not show could have been the choice
// for position. Those are at most as probable as the last one shown, so that they matter only where they may
// tie with it: for greedy choices when the best ties with the last, otherwise when the k-th does.
func certain(p speculative.Params, position int, row Row, chosen backend.Token, vocabulary int) bool {
	if len(row) >= vocabulary {
		return true
	}
	last := row[len(row)-1].Logprob
	if p.Temperature == 0 {
		return row[0].Logprob > last
	}
	if p.TopK <= 0 || p.TopK > len(row) {
		return false
	}
	if kth := row[p.TopK-1].Logprob; kth > last {
		return true
	}
	// A token that ties with the k-th and has a lower id than one of those that tie would take its place.
	shown, place := make(map[backend.Token]bool, len(row)), backend.Token(0)
	best := math.Inf(-1)
	inv := 1 / float64(p.Temperature)
	score := func(t backend.Token, l float32) float64 {
		return float64(float64(l)*inv) + speculative.Noise(p.Seed, p.Choice, position, t)
	}
	for i, x := range row {
		shown[x.Token] = true
		if i < p.TopK && x.Logprob == last {
			place = max(place, x.Token)
		}
		if x.Token == chosen {
			if x.Logprob == last {
				return false
			}
			best = score(x.Token, x.Logprob)
		}
	}
	for t := backend.Token(0); t < place; t++ {
		if !shown[t] && score(t, last) >= best {
			return false
		}
	}
	return true
}

func logprobs(row Row, chosen backend.Token, n int) speculative.Logprobs {
	lp := speculative.Logprobs{Chosen: float32(math.Inf(-1)), Top: slices.Clone(row[:min(n, len(row), speculative.MaxLogprobs)])}
	for _, x := range row {
		if x.Token == chosen {
			lp.Chosen = min(x.Logprob, 0)
		}
	}
	return lp
}

// tally counts choices, and warns of doubtful ones each time that their number doubles.
type tally struct{ all, doubtful atomic.Int64 }

func (t *tally) add(sure bool) {
	all := t.all.Add(1)
	if sure {
		return
	}
	if n := t.doubtful.Add(1); n&(n-1) == 0 {
		fmt.Fprintf(os.Stderr, "[WARN] %d of %d choices are not certain: a token that the server does not show may tie; a top_k below option top avoids it\n", n, all)
	}
}

// Doubtful returns how many choices were made and how many of them a token that was not shown could have
// been, by a tie.
func (e *Engine) Doubtful() (doubtful, all int64) { return e.tally.doubtful.Load(), e.tally.all.Load() }
