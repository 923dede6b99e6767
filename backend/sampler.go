package backend

import (
	"fmt"

	"github.com/outrider-llm/outrider/grammar"
	"github.com/outrider-llm/outrider/speculative"
)

// Samplers makes an engine's samplers. It is safe for concurrent use.
type Samplers struct {
	vocabulary *grammar.Vocabulary // nil: there is no text to constrain
	store      *grammar.Store
}

// NewSamplers is for a vocabulary of size tokens. bytes returns a token's text, none for those without,
// and is nil when none has any; after ends a text ends.
func NewSamplers(size int, bytes func(Token) []byte, ends []Token) *Samplers {
	s := &Samplers{store: grammar.NewStore()}
	if bytes != nil {
		s.vocabulary = grammar.NewVocabulary(size, bytes, ends)
	}
	return s
}

// New returns a sampler for a sequence that begins with setup. Errors wrap ErrInvalid.
func (s *Samplers) New(setup *Setup) (*speculative.Sampler, error) {
	if err := setup.Params.Validate(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if setup.PromptLength < 0 {
		return nil, fmt.Errorf("%w: prompt length %d", ErrInvalid, setup.PromptLength)
	}
	if err := setup.Rule.Validate(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	out := speculative.NewSampler(setup.Params, setup.PromptLength)
	out.Follow(setup.Rule, setup.Drafts)
	g, err := s.Grammar(setup)
	if err != nil {
		return nil, err
	}
	if g != nil {
		out.Constrain(grammar.NewTrack(g, s.vocabulary))
	}
	return out, nil
}

// Grammar returns a setup's constraint compiled, nil when it has none. Errors wrap ErrInvalid.
func (s *Samplers) Grammar(setup *Setup) (*grammar.Grammar, error) {
	if setup.Constraint.Kind == "" {
		return nil, nil
	}
	if s.vocabulary == nil {
		return nil, fmt.Errorf("%w: the model's tokens have no text, so there is nothing to constrain", ErrInvalid)
	}
	g, err := s.store.Compile(setup.Constraint)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return g, nil
}
