package backend

import (
	"context"
	"fmt"
	"slices"

	"github.com/outrider-llm/outrider/speculative"
)

// DraftStep runs a segment with at most one choice wanted, after its last token. version is what
// the step before returned, 0 at first; a sequence that somebody else changed in between is
// ErrSequenceLost.
type DraftStep func(ctx context.Context, s Segment, version uint64) (c speculative.Choice, next uint64, err error)

// DraftSteps is Model.Draft for an engine that runs one token at a time.
func DraftSteps(ctx context.Context, req DraftRequest, info Info, step DraftStep, emit func(speculative.Choice) bool) error {
	s := req.Segment
	if s.Parents != nil {
		return fmt.Errorf("%w: drafting goes on from a chain", ErrInvalid)
	}
	s.From = len(s.Tokens)
	if req.MaxTokens > 0 && s.From > 0 {
		s.From--
	}
	path, version := float32(1), uint64(0)
	for n := 1; ; n++ {
		c, next, err := step(ctx, s, version)
		switch {
		case ctx.Err() != nil:
			return nil //nolint:nilerr // the contract: no error when ctx ends a draft
		case err != nil:
			return err
		case req.MaxTokens <= 0:
			return nil
		}
		path *= c.Confidence
		if !emit(c) || n >= req.MaxTokens || path < req.MinPath || slices.Contains(info.EndTokens, c.Token) {
			return nil
		}
		s = Segment{Sequence: s.Sequence, Start: s.Start + len(s.Tokens), Tokens: []Token{c.Token}}
		if s.Start >= info.ContextLength {
			return nil
		}
		version = next
	}
}
