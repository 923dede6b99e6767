package edge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/drafter/translate"
	"github.com/outrider-llm/outrider/speculative"
	"github.com/outrider-llm/outrider/tokenizer"
)

// vocabulary is what the edge knows of a target's tokens.
type vocabulary struct {
	tok    *tokenizer.Tokenizer // nil: no text
	print  string               // fingerprint; empty: not known
	digest string               // of the tokenizer as the cloud gives it
	size   int                  // 0: not known
	ends   []Token
	draft  backend.Model // in these tokens; nil: none
	note   string        // what is worth knowing of it
	unfit  error         // why the draft cannot propose for this target
}

// learner finds out each target's vocabulary, once.
type learner struct {
	e     *Edge
	cache *cache
	turn  chan struct{} // one asks at a time: the others then find what it found

	mu    sync.Mutex
	known map[string]*vocabulary // by the name asked for
}

func newLearner(e *Edge) *learner {
	l := &learner{e: e, turn: make(chan struct{}, 1), known: map[string]*vocabulary{}}
	if e.c.Cache != "" {
		l.cache = &cache{dir: e.c.Cache, logger: e.c.Logger}
	}
	return l
}

// begin learns the default target's vocabulary as soon as there is a cloud.
func (l *learner) begin() {
	ctx := l.e.ctx
	for failures := 0; ctx.Err() == nil; failures++ {
		_, err := l.learn(ctx, ctx, l.e.c.Model, false)
		if err == nil || errors.Is(err, tokenizer.ErrPacked) || permanent(err, "") != nil {
			return // for a request to tell
		}
		t := time.NewTimer(min(minReopen<<min(failures, 12), maxBegin))
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
		}
	}
}

// maxBegin is how often an idle edge looks for a cloud that is not there.
const maxBegin = 30 * time.Second

func (l *learner) of(model string) *vocabulary {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.known[model]
}

// forget drops what is known of a target whose cloud says otherwise.
func (l *learner) forget(model string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.known, model)
}

// told hears what a cloud says of a target in passing.
func (l *learner) told(model, print string, digest []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if v := l.known[model]; v != nil && (v.print != print || v.digest != string(digest)) {
		delete(l.known, model)
	}
}

// given is the vocabulary that the configuration says.
func (c *Config) given() *vocabulary {
	v := &vocabulary{tok: c.Tokenizer, print: c.Vocabulary, draft: c.Draft}
	if v.tok != nil {
		v.size, v.ends = v.tok.Size(), v.tok.EndTokens()
	}
	return v
}

// guessWait is how long a request waits for the cloud to describe its target when the draft's own
// tokenizer can begin as well.
const guessWait = 2 * time.Second

// learn returns the vocabulary of the target that a request is for. With no cloud in reach it is the
// draft's, if there is one: the cloud then checks it when it is back.
func (e *Edge) learn(ctx context.Context, r *Request) (*vocabulary, error) {
	if !e.c.Learn {
		return e.c.given(), nil
	}
	model := r.Model
	if model == "" {
		model = e.c.Model
	}
	v := e.learner.of(model)
	if v == nil {
		var err error
		if v, err = e.ask(ctx, model, r); err != nil {
			return nil, err
		}
	}
	if v.unfit != nil && !r.NoDraft {
		return nil, v.unfit
	}
	return v, nil
}

// ask waits for the cloud as long as the request's policy says.
func (e *Edge) ask(ctx context.Context, model string, r *Request) (*vocabulary, error) {
	guess := e.c.Tokenizer != nil || e.c.Draft != nil
	wait := patienceOf(&e.c, r.Fallback)
	if guess {
		wait = guessWait
		if _, shut := e.link.gate.shut(); shut && cmp.Or(r.Fallback, e.c.Fallback) == FallbackDraft {
			return e.c.given(), nil
		}
	}
	if r.Deadline > 0 && (wait == 0 || r.Deadline < wait) {
		wait = r.Deadline
	}
	within := ctx
	if wait > 0 {
		var cancel context.CancelFunc
		within, cancel = context.WithTimeout(ctx, wait)
		defer cancel()
	}
	v, err := e.learner.learn(ctx, within, model, !guess)
	switch {
	case err == nil:
		return v, nil
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case errors.Is(err, tokenizer.ErrPacked):
		return nil, fmt.Errorf("%w: what %s gives as its target's tokenizer is %w", ErrRefused, e.c.Cloud, err)
	case guess && (status.Code(err) == codes.Unimplemented || permanent(err, e.c.Cloud) == nil):
		e.c.Logger.Info("the cloud does not tell its target's vocabulary now, going on with the draft's", "cloud", e.c.Cloud, "error", reason(err))
		return e.c.given(), nil
	case status.Code(err) == codes.Unimplemented:
		return nil, fmt.Errorf("%w: %s does not give its target's tokenizer, it is older than this edge: update it, or set edge.draft.tokenizer to a GGUF file of the target",
			ErrRefused, e.c.Cloud)
	}
	if final := permanent(err, e.c.Cloud); final != nil {
		return nil, final
	}
	return nil, fmt.Errorf("%w: %s did not tell its target's tokenizer for %s (%s): start it or check the address",
		ErrNoCloud, e.c.Cloud, wait, reason(err))
}

// patienceOf is how long a policy lets the cloud be out of reach, 0: for ever.
func patienceOf(c *Config, f Fallback) time.Duration {
	if f == FallbackDefault {
		f = c.Fallback
	}
	switch after := c.FallbackAfter; {
	case f == FallbackWait:
		return 0
	case after > 0:
		return after
	case f == FallbackDraft:
		return draftAfter
	}
	return failAfter
}

// learn asks until within is done. The tokenizer itself, once it comes, may take longer: then only
// ctx ends it.
func (l *learner) learn(ctx, within context.Context, model string, ready bool) (*vocabulary, error) {
	select {
	case l.turn <- struct{}{}:
		defer func() { <-l.turn }()
	case <-within.Done():
		return nil, status.FromContextError(within.Err()).Err()
	}
	if v := l.of(model); v != nil {
		return v, nil
	}
	for failures := 0; ; failures++ {
		v, err := l.e.link.describe(ctx, within, model, l.cache, ready)
		if err == nil {
			l.check(v)
			l.mu.Lock()
			l.known[model] = v
			l.mu.Unlock()
			return v, nil
		}
		if !ready || errors.Is(err, tokenizer.ErrPacked) || permanent(err, "") != nil || within.Err() != nil {
			return nil, err
		}
		t := time.NewTimer(min(minReopen<<min(failures, 10), maxReopen))
		select {
		case <-t.C:
		case <-within.Done():
			t.Stop()
			return nil, err
		}
	}
}

// check says whether the draft fits: by the fingerprint, or else token by token. One that does not
// drafts text, which is then put into the target's tokens.
func (l *learner) check(v *vocabulary) {
	c := &l.e.c
	if c.Draft == nil {
		return
	}
	v.draft = c.Draft
	i := c.Draft.Info()
	if i.Vocabulary == v.print {
		return
	}
	why := fmt.Errorf("the draft's is %s, the target's %s", i.Vocabulary, v.print)
	if v.tok != nil && c.Tokenizer != nil && c.Tokenizer.Fingerprint() == i.Vocabulary {
		if why = tokenizer.Fits(v.tok, c.Tokenizer); why != nil && !c.NoTranslate {
			v.draft = translate.New(c.Draft, c.Tokenizer, v.tok)
			v.note = fmt.Sprintf("the draft %s has other tokens than the target, it drafts as text", i.Name)
			c.Logger.Info("the draft has other tokens than the target, it drafts as text", "draft", i.Name, "why", why)
			return
		}
	}
	if why != nil {
		v.draft = nil
		v.unfit = fmt.Errorf("%w: draft %s: %w: use a draft that was made for the target, set edge.translate to auto, or --draft none", ErrVocabulary, i.Name, why)
	}
}

// proposable makes a choice of the draft one that the target's vocabulary has: rows that only pad the
// draft's are nothing to propose.
func (v *vocabulary) proposable(c speculative.Choice) speculative.Choice {
	if v.size == 0 {
		return c
	}
	if int(c.Second) >= v.size {
		c.Second = -1
	}
	if int(c.Token) >= v.size {
		c.Token, c.Confidence, c.Q = 0, 0, nil
	}
	if c.Q.Check(c.Token, v.size) != nil { // a point mass is fair whatever it was drawn from
		c.Q = nil
	}
	return c
}
