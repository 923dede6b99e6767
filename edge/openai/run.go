package openai

import (
	"context"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/outrider-llm/outrider/chat/reply"
	"github.com/outrider-llm/outrider/edge"
	"github.com/outrider-llm/outrider/speculative"
)

// delta is what an event adds to one choice.
type delta struct {
	parts    []part
	tokens   []edge.GeneratedToken
	pending  string
	verified int
	progress edge.Progress
	at       int // bytes of raw text before it
}

// part is a piece of an answer.
type part struct {
	reply.Part
	id string // of a call that begins
}

// call is a tool call as far as it has come.
type call struct {
	id, name  string
	arguments strings.Builder
}

// answer is a choice as far as it has come.
type answer struct {
	s             *server
	j             *job
	reader        *reply.Reader // nil: all is text
	text, thought strings.Builder
	calls         []*call
	tokens        []edge.GeneratedToken // when the request asks for them
	thoughtTokens int
	raw           int // bytes of text, markers apart
	finish        string
	sum           edge.Summary
	steps         steps
}

// sink takes a job's output. Calls come one at a time.
type sink interface {
	delta(choice int, d *delta) error
	finish(choice int, d *delta, a *answer) error
}

// nothing is the sink of an answer that is sent as a whole.
type nothing struct{}

func (nothing) delta(int, *delta) error           { return nil }
func (nothing) finish(int, *delta, *answer) error { return nil }

// generate prepares a job and runs it.
func (s *server) generate(ctx context.Context, j *job, tools *toolset, out sink) ([]*answer, error) {
	if err := s.prepare(ctx, j, tools); err != nil {
		return nil, err
	}
	return s.run(ctx, j, out)
}

// run generates a job's choices at once and feeds them to a sink. The first error ends them all.
func (s *server) run(ctx context.Context, j *job, out sink) ([]*answer, error) {
	answers := make([]*answer, j.choices())
	g, ctx := errgroup.WithContext(ctx)
	var mu sync.Mutex
	for i := range answers {
		a := &answer{s: s, j: j}
		if j.reads {
			a.reader = reply.NewReader(j.style, j.tools)
		}
		answers[i] = a
		r := j.r
		r.Params.Choice = uint32(i % j.n)
		if len(j.prompts) > 0 {
			r.Prompt, r.Tokens = j.prompts[i/j.n].text, j.prompts[i/j.n].tokens
		}
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
			if sum.Finish == speculative.FinishDeadline && sum.Tokens == 0 {
				return errDeadline()
			}
			d := a.end()
			mu.Lock()
			defer mu.Unlock()
			return out.finish(i, d, a)
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
	d := &delta{tokens: e.Tokens, pending: e.Pending, verified: e.Verified, progress: e.Progress, at: a.raw}
	for _, t := range e.Tokens {
		a.steps.add(t)
		text := t.Text
		if text == "" {
			text = a.j.markers[t.ID]
		}
		a.raw += len(t.Text)
		if a.add(d, text); len(d.parts) > 0 && d.parts[len(d.parts)-1].Kind == reply.Thought {
			a.thoughtTokens++
		}
	}
	a.raw += len(e.Tail)
	a.add(d, e.Tail)
	if a.j.keep {
		a.tokens = append(a.tokens, e.Tokens...)
	}
	return d
}

// add reads new text.
func (a *answer) add(d *delta, text string) {
	if a.reader == nil {
		a.put(d, reply.Part{Text: text})
		return
	}
	for _, p := range a.reader.Push(text) {
		a.put(d, p)
	}
}

// put adds a part to the answer and to what is sent.
func (a *answer) put(d *delta, p reply.Part) {
	q := part{Part: p}
	switch p.Kind {
	case reply.Text:
		if p.Text == "" {
			return
		}
		a.text.WriteString(p.Text)
	case reply.Thought:
		a.thought.WriteString(p.Text)
	case reply.Call:
		q.id = a.s.callID(a.j.style.Name)
		a.calls = append(a.calls, &call{id: q.id, name: p.Text})
	case reply.Arguments:
		a.calls[p.Call].arguments.WriteString(p.Text)
	}
	if n := len(d.parts); n > 0 && p.Kind != reply.Call && d.parts[n-1].Kind == p.Kind {
		d.parts[n-1].Text += p.Text
		return
	}
	d.parts = append(d.parts, q)
}

// end takes what the reader held back and says why the answer ended.
func (a *answer) end() *delta {
	d := &delta{}
	if a.reader != nil {
		for _, p := range a.reader.Finish() {
			a.put(d, p)
		}
	}
	if a.finish = finishOf(a.sum.Finish); a.finish == "stop" && len(a.calls) > 0 {
		a.finish = "tool_calls"
	}
	return d
}
