package backend

import (
	"fmt"
	"math"

	outriderv1 "github.com/outrider-llm/outrider/proto/outrider/v1"
	"github.com/outrider-llm/outrider/speculative"
	"github.com/outrider-llm/outrider/telemetry"
)

func segmentToProto(s *Segment) *outriderv1.Segment {
	m := &outriderv1.Segment{Sequence: uint64(s.Sequence), Start: uint32(s.Start), From: uint32(s.From), Logprobs: uint32(max(0, s.Logprobs)),
		Tokens: tokensToProto(s.Tokens)}
	if s.Parents != nil {
		m.Parents = make([]uint32, len(s.Parents))
		for i, p := range s.Parents {
			m.Parents[i] = uint32(p + 1)
		}
	}
	if s.Keep != nil {
		m.Keep = make([]uint32, len(s.Keep))
		for i, k := range s.Keep {
			m.Keep[i] = uint32(k)
		}
	}
	m.DrawnFrom = SparsesToProto(s.Q)
	if s.Setup != nil {
		m.Setup = &outriderv1.Setup{Sampling: SamplingToProto(s.Setup.Params), PromptLength: uint32(s.Setup.PromptLength),
			Request: s.Setup.Request, Constraint: ConstraintToProto(s.Setup.Constraint), Rule: RuleToProto(s.Setup.Rule), Drafts: s.Setup.Drafts}
	}
	return m
}

func tokensToProto(tokens []Token) []uint32 {
	out := make([]uint32, len(tokens))
	for i, t := range tokens {
		out[i] = uint32(t)
	}
	return out
}

func invalid(format string, a ...any) error {
	return fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, a...))
}

// segmentFromProto converts one segment and checks everything that can be checked without the
// sequence's state, so that an engine may index by what it is given. Errors wrap a sentinel.
func segmentFromProto(m *outriderv1.Segment, info *Info) (Segment, error) {
	n := len(m.GetTokens())
	s := Segment{Sequence: Sequence(m.GetSequence()), Start: int(m.GetStart()), From: int(m.GetFrom())}
	switch {
	case n == 0:
		return s, invalid("there are no tokens")
	case m.GetStart() > uint32(info.ContextLength):
		return s, fmt.Errorf("%w: position %d is beyond its %d tokens", ErrContextFull, m.GetStart(), info.ContextLength)
	case m.GetFrom() > uint32(n):
		return s, invalid("choices are wanted from token %d of %d", m.GetFrom(), n)
	case m.GetStart() == 0 && m.GetSetup() == nil:
		return s, invalid("a sequence begins without setup")
	}
	var err error
	if s.Tokens, err = tokensFromProto(m.GetTokens(), info.VocabularySize); err != nil {
		return s, err
	}
	if s.Parents, err = parentsFromProto(m.GetParents(), n, info.Trees); err != nil {
		return s, err
	}
	// A tree is as long as its longest path.
	if d := depth(s.Parents, n); d > info.ContextLength-s.Start {
		return s, fmt.Errorf("%w: positions %d to %d do not fit into its %d tokens", ErrContextFull, s.Start, s.Start+d-1, info.ContextLength)
	}
	if s.Q, err = SparsesFromProto(m.GetDrawnFrom(), s.Tokens, info.VocabularySize); err != nil {
		return s, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if s.Keep, err = keepFromProto(m.GetKeep()); err != nil {
		return s, err
	}
	s.Logprobs = int(min(m.GetLogprobs(), speculative.MaxLogprobs+1))
	s.Setup, err = setupFromProto(m.GetSetup())
	return s, err
}

func tokensFromProto(in []uint32, vocabulary int) ([]Token, error) {
	out := make([]Token, len(in))
	for i, t := range in {
		if uint64(t) >= uint64(vocabulary) {
			return nil, invalid("token %d is beyond the vocabulary of %d", t, vocabulary)
		}
		out[i] = Token(t)
	}
	return out, nil
}

func parentsFromProto(in []uint32, n int, trees bool) ([]int32, error) {
	if len(in) == 0 {
		return nil, nil
	}
	if !trees {
		return nil, invalid("this model does not run trees")
	}
	if len(in) != n {
		return nil, invalid("%d parents for %d tokens", len(in), n)
	}
	out := make([]int32, n)
	for i, p := range in {
		if p > uint32(i) {
			return nil, invalid("the parent of token %d comes after it", i)
		}
		out[i] = int32(p) - 1
	}
	return out, nil
}

// depth is the length of the longest path; parents have been checked.
func depth(parents []int32, n int) int {
	if parents == nil {
		return n
	}
	d, longest := make([]int32, n), int32(0)
	for i, p := range parents {
		d[i] = 1
		if p >= 0 {
			d[i] = d[p] + 1
		}
		longest = max(longest, d[i])
	}
	return int(longest)
}

// keepFromProto checks the order only: how many rows there are is known to the engine.
func keepFromProto(in []uint32) ([]int32, error) {
	if len(in) == 0 {
		return nil, nil
	}
	out := make([]int32, len(in))
	for i, k := range in {
		if k > math.MaxInt32 || (i > 0 && int32(k) <= out[i-1]) {
			return nil, invalid("the rows to keep are out of order")
		}
		out[i] = int32(k)
	}
	return out, nil
}

func setupFromProto(m *outriderv1.Setup) (*Setup, error) {
	if m == nil {
		return nil, nil
	}
	p, err := SamplingFromProto(m.GetSampling())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if m.GetPromptLength() > math.MaxInt32 {
		return nil, invalid("the prompt is %d tokens long", m.GetPromptLength())
	}
	setup := &Setup{Params: p, PromptLength: int(m.GetPromptLength()), Constraint: ConstraintFromProto(m.GetConstraint()), Drafts: m.GetDrafts()}
	if setup.Rule, err = RuleFromProto(m.GetRule()); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if id := m.GetRequest(); telemetry.ValidRequestID(id) {
		setup.Request = id
	}
	return setup, nil
}

func choicesToProto(choices []speculative.Choice) []*outriderv1.Choice {
	if len(choices) == 0 {
		return nil
	}
	out := make([]*outriderv1.Choice, len(choices))
	slab := make([]outriderv1.Choice, len(choices))
	for i, c := range choices {
		slab[i].Token, slab[i].Confidence, slab[i].Second = uint32(c.Token), c.Confidence, uint32(c.Second+1)
		slab[i].DrawnFrom, slab[i].Lenient = sparseToProto(c.Q), c.Lenient
		out[i] = &slab[i]
	}
	return out
}

// choiceFromProto checks what a plugin chose.
func choiceFromProto(m *outriderv1.Choice, vocabulary int) (speculative.Choice, error) {
	c := speculative.Choice{Token: Token(m.GetToken()), Confidence: m.GetConfidence(), Second: Token(m.GetSecond()) - 1, Lenient: m.GetLenient()}
	var err error
	if c.Q, err = sparseFromProto(m.GetDrawnFrom(), c.Token, vocabulary); err != nil {
		return c, fmt.Errorf("%w: %w", errMisbehaves, err)
	}
	switch {
	case uint64(m.GetToken()) >= uint64(vocabulary), uint64(m.GetSecond()) > uint64(vocabulary):
		return c, fmt.Errorf("%w: it chose token %d or %d of a vocabulary of %d", errMisbehaves, m.GetToken(), c.Second, vocabulary)
	case !(c.Confidence >= 0 && c.Confidence <= 1):
		return c, fmt.Errorf("%w: its confidence is %g", errMisbehaves, c.Confidence)
	}
	return c, nil
}

func resultToProto(r Result, wanted int) *outriderv1.SegmentResult {
	if r.Err == nil && len(r.Choices) != wanted {
		r.Err = fmt.Errorf("the engine made %d choices where %d were wanted", len(r.Choices), wanted)
	}
	if r.Err != nil {
		code, text := errorToProto(r.Err)
		return &outriderv1.SegmentResult{Error: code, Message: text}
	}
	return &outriderv1.SegmentResult{Choices: choicesToProto(r.Choices), Logprobs: logprobsToProto(r.Logprobs)}
}

func resultFromProto(m *outriderv1.SegmentResult, wanted, vocabulary int) Result {
	if err := errorFromProto(m.GetError(), m.GetMessage()); err != nil {
		return Result{Err: err}
	}
	if len(m.GetChoices()) != wanted {
		return Result{Err: fmt.Errorf("%w: %d choices instead of %d", errMisbehaves, len(m.GetChoices()), wanted)}
	}
	if wanted == 0 {
		return Result{}
	}
	out := make([]speculative.Choice, wanted)
	for i, c := range m.GetChoices() {
		var err error
		if out[i], err = choiceFromProto(c, vocabulary); err != nil {
			return Result{Err: err}
		}
	}
	logprobs, err := logprobsFromProto(m.GetLogprobs(), wanted, vocabulary)
	if err != nil {
		return Result{Err: err}
	}
	return Result{Choices: out, Logprobs: logprobs}
}
