// Package sglang makes a target of an SGLang server by its native API: POST /generate with the log as
// input_ids and logprob_start_len at the first row that is wanted, so that the rows before come from its prefix cache.
package sglang

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/backend/httpengine"
)

// Dialect implements httpengine.Dialect.
type Dialect struct{}

var _ httpengine.Dialect = Dialect{}

// Load is a backend.Loader; model is the server's address. Options are httpengine's.
func Load(ctx context.Context, model string, opts map[string]string, progress func(float32)) (backend.Model, error) {
	return httpengine.Loader(Dialect{})(ctx, model, opts, progress)
}

// Name implements httpengine.Dialect.
func (Dialect) Name() string { return "sglang" }

// reserve is what SGLang wants free beyond a log of which one token is decoded.
const reserve = 4

// Identify implements httpengine.Dialect. SGLang serves one model, so that model must be it or empty.
func (Dialect) Identify(ctx context.Context, c *httpengine.Client, model string) (httpengine.Identity, error) {
	var m struct {
		Path   string `json:"model_path"`
		Served string `json:"served_model_name"`
	}
	if err := c.Get(ctx, "/get_model_info", &m); err != nil {
		return httpengine.Identity{}, fmt.Errorf("is it an SGLang server? /get_model_info: %w", err)
	}
	var s struct {
		Version string `json:"version"`
		Served  string `json:"served_model_name"`
		Length  int    `json:"context_length"`
		Longest int    `json:"max_req_input_len"`
		Rows    int    `json:"max_total_num_tokens"`
	}
	if err := c.Get(ctx, "/get_server_info", &s); err != nil {
		return httpengine.Identity{}, err
	}
	if model != "" && model != m.Path && model != s.Served {
		return httpengine.Identity{}, fmt.Errorf("the server runs %s, not %s: correct option model", m.Path, model)
	}
	id := httpengine.Identity{Model: m.Path, Version: s.Version, KVTokens: s.Rows}
	for _, n := range []int{s.Length, s.Longest, s.Rows} {
		if n > reserve && (id.Context == 0 || n-reserve < id.Context) {
			id.Context = n - reserve
		}
	}
	return id, nil
}

type request struct {
	IDs      []backend.Token `json:"input_ids"`
	Sampling map[string]any  `json:"sampling_params"`
	Logprob  bool            `json:"return_logprob"`
	Start    int             `json:"logprob_start_len"`
	Top      int             `json:"top_logprobs_num"`
	Stream   bool            `json:"stream"`
}

// entry is [log probability, token, text or null].
type entry [3]json.RawMessage

type answer struct {
	Meta struct {
		Input  [][]entry `json:"input_top_logprobs"`
		Output [][]entry `json:"output_top_logprobs"`
	} `json:"meta_info"`
}

// Score implements httpengine.Dialect.
func (Dialect) Score(ctx context.Context, c *httpengine.Client, q httpengine.Query) ([]httpengine.Row, error) {
	r := request{IDs: q.Tokens, Sampling: map[string]any{"temperature": 0, "max_new_tokens": 1}, Logprob: true, Start: q.From, Top: q.Top}
	var a answer
	if err := c.Post(ctx, "/generate", r, &a); err != nil {
		return nil, err
	}
	n := len(q.Tokens) - q.From
	// Input entry i is what could have stood in the place of token From+i; the first is null.
	if len(a.Meta.Output) == 0 || len(a.Meta.Input) < n {
		return nil, fmt.Errorf("SGLang's answer has top logprobs of %d input and %d output tokens instead of %d and 1",
			len(a.Meta.Input), len(a.Meta.Output), n)
	}
	rows := make([]httpengine.Row, 0, n)
	for _, entries := range append(a.Meta.Input[1:n:n], a.Meta.Output[0]) {
		row := make(httpengine.Row, len(entries))
		for i, x := range entries {
			if json.Unmarshal(x[0], &row[i].Logprob) != nil || json.Unmarshal(x[1], &row[i].Token) != nil {
				return nil, errors.New("SGLang's answer has a top logprob that is no [log probability, token, text]")
			}
		}
		rows = append(rows, row)
	}
	return rows, nil
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
