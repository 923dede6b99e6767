// Package vllm makes a target of a vLLM server (its OpenAI-compatible one, 0.8 or later): one
// POST /v1/completions with the log as token ids scores it. Rows that lie before the last come as prompt_logprobs, for
// which vLLM runs the whole log anew; a request for the last row alone uses its prefix cache.
package vllm

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/backend/httpengine"
	"github.com/outrider-llm/outrider/speculative"
)

// Dialect implements httpengine.Dialect.
type Dialect struct{}

var _ httpengine.Dialect = Dialect{}

// Load is a backend.Loader; model is the server's address. Options are httpengine's.
func Load(ctx context.Context, model string, opts map[string]string, progress func(float32)) (backend.Model, error) {
	return httpengine.Loader(Dialect{})(ctx, model, opts, progress)
}

// Name implements httpengine.Dialect.
func (Dialect) Name() string { return "vllm" }

// Identify implements httpengine.Dialect.
func (Dialect) Identify(ctx context.Context, c *httpengine.Client, model string) (httpengine.Identity, error) {
	var version struct {
		Version string `json:"version"`
	}
	if err := c.Get(ctx, "/version", &version); err != nil {
		return httpengine.Identity{}, fmt.Errorf("is it a vLLM server? /version: %w", err)
	}
	var list struct {
		Data []struct {
			ID     string `json:"id"`
			Length int    `json:"max_model_len"`
		} `json:"data"`
	}
	if err := c.Get(ctx, "/v1/models", &list); err != nil {
		return httpengine.Identity{}, err
	}
	var names []string
	for _, m := range list.Data {
		if model == "" || m.ID == model {
			// One token is decoded beyond the log.
			return httpengine.Identity{Model: m.ID, Version: version.Version, Context: m.Length - 1}, nil
		}
		names = append(names, m.ID)
	}
	return httpengine.Identity{}, fmt.Errorf("the server has no model %q, only %s: correct option model", model, strings.Join(names, ", "))
}

type request struct {
	Model    string          `json:"model"`
	Prompt   []backend.Token `json:"prompt"`
	Max      int             `json:"max_tokens"`
	Heat     float64         `json:"temperature"`
	Logprobs int             `json:"logprobs"`
	Before   *int            `json:"prompt_logprobs,omitempty"`
	AsIDs    bool            `json:"return_tokens_as_token_ids"`
	Stream   bool            `json:"stream"`
	Special  bool            `json:"add_special_tokens"`
}

type answer struct {
	Choices []struct {
		Logprobs *struct {
			Top []map[string]float32 `json:"top_logprobs"`
		} `json:"logprobs"`
		Before []map[string]struct {
			Logprob float32 `json:"logprob"`
			Rank    int     `json:"rank"`
		} `json:"prompt_logprobs"`
	} `json:"choices"`
}

// Score implements httpengine.Dialect.
func (Dialect) Score(ctx context.Context, c *httpengine.Client, q httpengine.Query) ([]httpengine.Row, error) {
	r := request{Model: q.Model, Prompt: q.Tokens, Max: 1, Logprobs: q.Top, AsIDs: true}
	n := len(q.Tokens)
	if q.From < n-1 {
		r.Before = &q.Top
	}
	var a answer
	if err := c.Post(ctx, "/v1/completions", r, &a); err != nil {
		return nil, err
	}
	if len(a.Choices) != 1 || a.Choices[0].Logprobs == nil || len(a.Choices[0].Logprobs.Top) == 0 {
		return nil, errors.New("vLLM's answer has no logprobs: is it started with --max-logprobs 0?")
	}
	rows := make([]httpengine.Row, 0, n-q.From)
	if r.Before != nil && len(a.Choices[0].Before) != n {
		return nil, fmt.Errorf("vLLM's answer has prompt_logprobs of %d tokens instead of %d", len(a.Choices[0].Before), n)
	}
	for i := q.From + 1; i < n; i++ { // entry i is what could have stood in token i's place
		var row httpengine.Row
		for id, x := range a.Choices[0].Before[i] {
			t, err := strconv.ParseInt(id, 10, 32)
			if err != nil {
				return nil, fmt.Errorf("vLLM's answer names a token %q", id)
			}
			if x.Rank <= q.Top { // token i itself is there, too, however improbable
				row = append(row, speculative.TokenLogprob{Token: backend.Token(t), Logprob: x.Logprob})
			}
		}
		rows = append(rows, row)
	}
	var row httpengine.Row
	for id, l := range a.Choices[0].Logprobs.Top[0] {
		number, ok := strings.CutPrefix(id, "token_id:")
		t, err := strconv.ParseInt(number, 10, 32)
		if !ok || err != nil {
			return nil, fmt.Errorf("vLLM's answer names a token %q instead of its id: it is too old for return_tokens_as_token_ids", id)
		}
		row = append(row, speculative.TokenLogprob{Token: backend.Token(t), Logprob: l})
	}
	return append(rows, row), nil
}

// Tokenize implements httpengine.Dialect.
func (Dialect) Tokenize(ctx context.Context, c *httpengine.Client, model, text string) ([]backend.Token, error) {
	var a struct {
		Tokens []backend.Token `json:"tokens"`
	}
	err := c.Post(ctx, "/tokenize", map[string]any{"model": model, "prompt": text, "add_special_tokens": false}, &a)
	if errors.Is(err, httpengine.ErrNotFound) {
		return nil, httpengine.ErrNoTokenizer
	}
	return a.Tokens, err
}
