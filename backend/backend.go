// Package backend is the contract between Outrider and the programs that run models.
//
// A backend is a go-plugin subprocess that speaks proto/outrider/v1/backend.proto. On both sides
// of that socket Go code sees the interface Model: an engine implements it, Serve publishes it,
// Host launches plugins and hands out a Model that speaks to one.
package backend

import (
	"context"
	"errors"

	"github.com/outrider-llm/outrider/grammar"
	"github.com/outrider-llm/outrider/speculative"
)

// Token is an id in the model's vocabulary.
type Token = speculative.Token

// Sequence names one session's rows in a model's KV cache. The host chooses it.
type Sequence uint64

// Model is a loaded model. All methods are safe for concurrent use; an engine decides itself
// how calls share its compute.
type Model interface {
	// Info describes the model; constant after load.
	Info() Info
	// Forward runs one batch in one pass. The result has one entry per segment, in order; a
	// segment's own failure is in its Err and leaves the others alone. The error is for the whole
	// call (context done, plugin gone).
	Forward(ctx context.Context, batch []Segment) ([]Result, error)
	// Draft runs the segment's tokens, then decodes on autoregressively, calling emit once per
	// chosen token. The first emitted choice follows the segment's last token. It ends after
	// MaxTokens, at an end token, when the path falls below MinPath, at the context's end, when emit
	// returns false or ctx is done (both nil error).
	Draft(ctx context.Context, req DraftRequest, emit func(speculative.Choice) bool) error
	// Release frees the KV rows of sequences; unknown ones are ignored.
	Release(ctx context.Context, sequences []Sequence) error
}

// Info describes a loaded model.
type Info struct {
	Name           string
	Engine         string // "reference", "mock", ...
	Architecture   string
	ContextLength  int
	VocabularySize int
	Vocabulary     string // fingerprint, see package tokenizer
	EndTokens      []Token
	Numerics       string // outputs are bit-equal within one value, unless ShapeDependent
	// ShapeDependent: a row's last bits depend on the other rows of its pass, so that a choice between
	// near ties may be another in another pass.
	ShapeDependent bool
	Sequences      int  // sequences that may hold rows at once
	KVTokens       int  // rows in all
	Trees          bool // segments may be trees
	Constraints    bool // setups may have a constraint: the tokens have text
	Rules          bool // choices follow the rule of the setup; otherwise they are coupled
	Parameters     uint64
}

// Segment is one sequence's share of a batch.
type Segment struct {
	Sequence Sequence
	// Start is the position of the first token. Rows held at and beyond it are dropped first.
	Start  int
	Tokens []Token
	// Parents is nil for a chain; otherwise Parents[i] < i is the index of the token that Tokens[i]
	// follows, -1 for the row before Start. The row of Tokens[i] then sees the rows before Start and
	// its ancestors only.
	Parents []int32
	// From: choices are wanted after Tokens[From:]; len(Tokens) for none (prompt chunks).
	From int
	// Setup is required when Start is 0. It replaces the sequence's, also beyond 0: rows depend on
	// tokens only, so another request may go on from them. The sampler then begins anew with the rows
	// before Start as its log.
	Setup *Setup
	// Keep lists, when the previous segment of this sequence was a tree, which of its rows became
	// the log from that segment's start on, in order. nil: its first rows.
	Keep []int32
	// Q holds what each of Tokens was drawn from, under speculative.Rejection; nil: point masses.
	Q []*speculative.Sparse
	// Logprobs: 0, none are wanted; n, that of each choice and of the n-1 most probable tokens there.
	Logprobs int
}

// Setup is what a sequence's sampler needs besides the tokens.
type Setup struct {
	Params       speculative.Params
	PromptLength int
	Request      string             // id of the request, for the plugin's logs
	Constraint   grammar.Constraint // what the tokens after the prompt must be; no kind: anything
	// Rule by which the choice after a row takes one of the tokens that follow it, or another.
	Rule   speculative.Rule
	Drafts bool // the choices are a draft's: proposals under the rule
}

// Result is the outcome of one segment: one choice per token from From on, or an error that wraps
// one of the sentinels below.
type Result struct {
	Choices []speculative.Choice
	// Logprobs has one entry per choice if the segment asked for them and the engine knows them.
	Logprobs []speculative.Logprobs
	Err      error
}

// DraftRequest asks for autoregressive decoding.
type DraftRequest struct {
	Segment   Segment // a chain with at least one token; From is ignored
	MaxTokens int
	MinPath   float32 // 0: no bound
}

// Errors that cross the plugin boundary intact (errors.Is works on both sides).
var (
	// ErrSequenceLost: the rows before Start are not held; run the log again from 0.
	ErrSequenceLost = errors.New("the model no longer holds this sequence")
	// ErrContextFull: the segment would go beyond the context length.
	ErrContextFull = errors.New("the model's context is full")
	// ErrNoMemory: no KV rows or sequences left; release some.
	ErrNoMemory = errors.New("the model's KV memory is full")
	// ErrInvalid: token out of range, parents out of order, setup missing.
	ErrInvalid = errors.New("invalid segment")
	// ErrNotFinite: the model computed NaN or infinity; trying again does not help.
	ErrNotFinite = errors.New("the model computes NaN: the file is damaged or its quantisation overflows")
	// ErrUnavailable: the plugin is gone; the host is restarting it.
	ErrUnavailable = errors.New("the model plugin is not running")
	// ErrLoad: the model could not be loaded; restarting does not help.
	ErrLoad = errors.New("cannot load the model")
)
