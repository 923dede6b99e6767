package edge

import (
	"cmp"
	"context"
	"crypto/rand"
	"slices"
	"time"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/speculative"
	"github.com/outrider-llm/outrider/telemetry"
)

// Generate runs one generation and hands out events until it ends. emit is called from this
// goroutine; a slow emit slows this generation only. When emit fails the generation is cancelled and
// its error returned. An error comes with a summary of what was given out before.
func (e *Edge) Generate(ctx context.Context, r Request, emit func(Event) error) (Summary, error) {
	began := time.Now()
	ctx, span := e.c.Tracing.Start(ctx, "generate")
	id := telemetry.RequestID(ctx)
	if id == "" {
		id = newRequestID()
	}
	if e.c.LogPrompts {
		emit = e.logPrompt(id, &r, emit)
	}
	sum, err := e.guarded(telemetry.WithRequestID(ctx, id), r, began, emit)
	e.logEnd(id, span, sum, err)
	return sum, err
}

// guarded is generate under the policy for personal data.
func (e *Edge) guarded(ctx context.Context, r Request, began time.Time, emit func(Event) error) (Summary, error) {
	if err := r.validate(); err != nil { // before anything reads it
		return Summary{}, err
	}
	r, emit, end, personal, err := e.protect(r, emit)
	if err != nil {
		return Summary{Personal: personal}, err
	}
	sum, err := e.generate(ctx, r, began, emit)
	if late := end(); err == nil {
		err = late
	}
	sum.Personal = personal
	return sum, err
}

func (e *Edge) generate(ctx context.Context, r Request, began time.Time, emit func(Event) error) (Summary, error) {
	if err := r.validate(); err != nil {
		return Summary{}, err
	}
	if r.Constraint != nil {
		if _, err := e.grammars.Compile(*r.Constraint); err != nil {
			return Summary{}, requestError("%s", err)
		}
	}
	e, err := e.enter()
	if err != nil {
		return Summary{}, err
	}
	defer e.leave() // once all has been handed out
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(e.ctx, func() { cancel(context.Cause(e.ctx)) })()
	s, err := e.prepare(ctx, r, began)
	if err != nil {
		e.wg.Done()
		return Summary{}, err
	}
	s.joules, _ = e.c.Ledger.joules()
	e.c.Metrics.active.Inc()
	defer e.c.Metrics.active.Dec()
	go func() {
		defer e.wg.Done()
		s.run(ctx)
	}()
	for ev := range s.events {
		if ctx.Err() != nil {
			continue
		}
		if err := emit(ev); err != nil {
			cancel(err)
			s.emitErr = err
		}
	}
	if s.emitErr != nil {
		s.sum.Finish, s.err = speculative.FinishCancelled, s.emitErr
	}
	e.c.Metrics.finished(s.sum, &s.accepts)
	s.account()
	return s.sum, s.err
}

// prepare turns a request into a session.
func (e *Edge) prepare(ctx context.Context, r Request, began time.Time) (*session, error) {
	rt, err := e.route(&r)
	if err != nil {
		return nil, err
	}
	var voc *vocabulary
	if rt.Where == OnDevice { // nobody else is asked
		voc = e.deviceVocabulary(&r, rt)
	} else if voc, err = e.learn(ctx, &r); err == nil {
		err = e.fits(ctx, &r, voc.tok)
	}
	if err == nil && rt.Where != OnDevice {
		err = e.unseen(&r, voc.tok)
	}
	if err != nil {
		return nil, err
	}
	prompt, err := r.prompt(voc.tok, e.c.Chat)
	if err != nil {
		return nil, err
	}
	return e.newSession(ctx, r, rt, voc, prompt, began)
}

func (e *Edge) newSession(ctx context.Context, r Request, rt *route, voc *vocabulary, prompt []Token, began time.Time) (*session, error) {
	s := &session{e: e, r: r, route: rt, voc: voc, prompt: prompt, began: began, events: make(chan Event), fallback: cmp.Or(r.Fallback, e.c.Fallback)}
	if err := s.possible(); err != nil {
		return nil, err
	}
	if r.Model == "" {
		s.r.Model = e.c.Model
	}
	if r.Rule.Kind == speculative.RuleDefault {
		s.r.Rule = e.c.Rule
	}
	s.r.Objective, s.r.Stop = cmp.Or(r.Objective, e.c.Objective), slices.Clone(r.Stop)
	s.out = newOutput(voc.tok, s.r.Stop, len(r.Messages) > 0)
	s.sum = Summary{PromptTokens: len(prompt), Rule: s.r.Rule, Exact: s.r.Rule.Strict(r.Params.Temperature), Lossless: s.r.Rule.Kind != speculative.Lenient}
	_, _ = rand.Read(s.id[:]) // never fails
	s.request = telemetry.RequestID(ctx)
	c := speculative.ProposerConfig{Depth: e.c.Depth, MinPath: e.c.MinPath, Worth: s.r.Objective.Aims().Worth, Gap: e.c.Gap, Thrifty: e.c.Thrifty, Branches: e.c.Branches,
		MaxLength: s.maxLength()}
	vocabulary := voc.size
	s.ends = slices.Clone(voc.ends)
	if voc.draft != nil {
		i := voc.draft.Info()
		if !e.c.Learn || vocabulary == 0 {
			vocabulary = max(vocabulary, i.VocabularySize)
		}
		s.ends = append(s.ends, i.EndTokens...)
		c.DraftContext = i.ContextLength
		setup := &backend.Setup{Params: r.Params, PromptLength: len(prompt), Request: s.request, Constraint: r.constraint()}
		if rt.Where != OnDevice {
			setup.Rule, setup.Drafts = s.r.Rule, true
		}
		s.d = newDrafter(e.hard, voc.draft, backend.Sequence(e.seq.Add(1)), setup, &e.c)
		s.d.spare = e.spareRows
	}
	if r.IgnoreEnd {
		s.ends = nil
	}
	c.EndTokens = s.ends
	if r.Depth > 0 && c.Depth >= 0 { // an edge that never drafts goes on so
		c.Depth = r.Depth
	}
	s.lookup()
	if r.NoDraft || s.d == nil && s.look == nil {
		c.Depth = -1
	}
	c.GuessOnly = s.d == nil
	for i, t := range prompt {
		if t < 0 || (vocabulary > 0 && int(t) >= vocabulary) {
			return nil, requestError("token %d of the prompt is %d, the vocabulary has %d", i, t, vocabulary)
		}
	}
	s.pc = c
	s.p = speculative.NewProposer(c, prompt)
	s.owner, s.key = owner{r.User, s.r.Model, voc.print}, e.conversations.key(r.User)
	if s.d != nil && (c.Depth >= 0 || rt.Where == OnDevice) {
		s.d.from = e.conversations.take(s.owner, prompt)
	}
	return s, nil
}

// possible says what of the request this edge cannot do.
func (s *session) possible() error {
	switch {
	case s.fallback == FallbackDraft && s.e.c.Draft == nil:
		return requestError("fallback draft is asked for, but this edge has no draft model: use fail or wait")
	case s.r.Prediction != "" && s.voc.tok == nil:
		return requestError("this edge has no tokenizer: leave the prediction out")
	case s.fallback == FallbackDraft && s.voc.unfit != nil:
		return s.voc.unfit
	}
	return nil
}

// maxLength is where the log ends as far as is known, 0: not known.
func (s *session) maxLength() int {
	n := s.e.link.contextOf(s.r.Model)
	if m := s.r.MaxTokens; m > 0 && (n == 0 || len(s.prompt)+m < n) {
		n = len(s.prompt) + m
	}
	return n
}
