package openai

import (
	"context"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/outrider-llm/outrider/edge"
	"github.com/outrider-llm/outrider/speculative"
)

// delta is what an event adds to one choice.
type delta struct {
	text     string
	tokens   []edge.GeneratedToken
	pending  string
	progress edge.Progress
}

// answer is a choice as far as it has come.
type answer struct {
	text   strings.Builder
	finish string
	sum    edge.Summary
	steps  steps
}

// sink takes a job's output. Calls come one at a time.
type sink interface {
	delta(choice int, d *delta) error
	finish(choice int, a *answer) error
}

// run generates a job's choices at once and feeds them to a sink. The first error ends them all.
func (s *server) run(ctx context.Context, j *job, out sink) ([]*answer, error) {
	answers := make([]*answer, j.n)
	g, ctx := errgroup.WithContext(ctx)
	var mu sync.Mutex
	for i := range answers {
		a := &answer{}
		answers[i] = a
		r := j.r
		r.Params.Choice = uint32(i)
		g.Go(func() error {
			sum, err := s.e.Generate(ctx, r, func(e edge.Event) error {
				d := a.take(e)
				mu.Lock()
				defer mu.Unlock()
				return out.delta(i, d)
			})
			a.sum = sum
			if err != nil {
				return err
			}
			a.finish = finishOf(sum.Finish)
			mu.Lock()
			defer mu.Unlock()
			return out.finish(i, a)
		})
	}
	return answers, g.Wait()
}

func finishOf(f speculative.Finish) string {
	if f == speculative.FinishLength || f == speculative.FinishDeadline {
		return "length"
	}
	return "stop"
}

// take adds an event.
func (a *answer) take(e edge.Event) *delta {
	d := &delta{tokens: e.Tokens, pending: e.Pending, progress: e.Progress}
	for _, t := range e.Tokens {
		d.text += t.Text
		a.steps.add(t)
	}
	d.text += e.Tail
	a.text.WriteString(d.text)
	return d
}
