// Package fake serves a small model as vLLM and SGLang do, as far as Outrider asks: the same paths, fields and
// limits as their published schemas say, the log probabilities from another engine. It is for tests.
package fake

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/speculative"
	"github.com/outrider-llm/outrider/tokenizer"
)

// Server is an http.Handler. Its fields are set before it serves.
type Server struct {
	Model   backend.Model // computes; must tell log probabilities
	Tok     *tokenizer.Tokenizer
	Name    string
	Version string
	Most    int    // tokens shown per row (--max-logprobs)
	Key     string // wanted as bearer token, empty: none

	Delay    time.Duration // of each scoring
	Fail     atomic.Int32  // so many scorings answer 503
	Requests atomic.Int64
	Rows     atomic.Int64 // run through the model, as far as a prefix cache does not have them
	Aborted  atomic.Int64
	next     atomic.Uint64
}

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.Key != "" && r.Header.Get("Authorization") != "Bearer "+s.Key {
		fail(w, http.StatusUnauthorized, "Unauthorized")
		return
	}
	i := s.Model.Info()
	switch r.Method + " " + r.URL.Path {
	case "GET /version":
		reply(w, map[string]any{"version": s.Version})
	case "GET /v1/models":
		reply(w, map[string]any{"object": "list", "data": []any{map[string]any{"id": s.Name, "object": "model", "owned_by": "vllm", "root": s.Name, "max_model_len": i.ContextLength}}})
	case "GET /get_model_info":
		reply(w, map[string]any{"model_path": s.Name, "tokenizer_path": s.Name, "is_generation": true})
	case "GET /get_server_info":
		reply(w, map[string]any{"version": s.Version, "served_model_name": s.Name, "context_length": i.ContextLength, "max_total_num_tokens": 1 << 20})
	case "POST /tokenize":
		s.tokenize(w, r)
	case "POST /v1/completions":
		s.completions(w, r)
	case "POST /generate":
		s.generate(w, r)
	default:
		fail(w, http.StatusNotFound, "Not Found")
	}
}

func reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // a client that is gone
}

func fail(w http.ResponseWriter, status int, format string, a ...any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"error": map[string]any{"message": fmt.Sprintf(format, a...), "type": "BadRequestError", "code": status}})
}

func (s *Server) tokenize(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Prompt string `json:"prompt"`
	}
	if json.NewDecoder(r.Body).Decode(&in) != nil || s.Tok == nil {
		fail(w, http.StatusNotFound, "Not Found")
		return
	}
	ids := s.Tok.Encode(in.Prompt, tokenizer.Options{})
	reply(w, map[string]any{"tokens": ids, "count": len(ids), "max_model_len": s.Model.Info().ContextLength})
}

// row is the most probable tokens after a token of the log, falling.
type row []speculative.TokenLogprob

// score answers the request itself when it fails.
func (s *Server) score(w http.ResponseWriter, r *http.Request, tokens []backend.Token, from, top int) []row {
	s.Requests.Add(1)
	if s.Fail.Load() > 0 && s.Fail.Add(-1) >= 0 {
		fail(w, http.StatusServiceUnavailable, "the engine restarts")
		return nil
	}
	select {
	case <-time.After(s.Delay):
	case <-r.Context().Done():
		s.Aborted.Add(1)
		return nil
	}
	if n := s.Model.Info().ContextLength; len(tokens) >= n {
		fail(w, http.StatusBadRequest, "This model's maximum context length is %d tokens. However, you requested %d tokens", n, len(tokens)+1)
		return nil
	}
	s.Rows.Add(int64(len(tokens) - from))
	seq := backend.Sequence(s.next.Add(1))
	defer func() { _ = s.Model.Release(context.WithoutCancel(r.Context()), []backend.Sequence{seq}) }() // a test's model
	res, err := s.Model.Forward(r.Context(), []backend.Segment{{Sequence: seq, Tokens: tokens, From: from, Logprobs: top + 1, Setup: &backend.Setup{PromptLength: len(tokens)}}})
	if err == nil {
		err = res[0].Err
	}
	if err != nil {
		fail(w, http.StatusBadRequest, "%v", err)
		return nil
	}
	out := make([]row, len(res[0].Logprobs))
	for i, l := range res[0].Logprobs {
		out[i] = l.Top
	}
	return out
}

// completions is vLLM's scoring: prompt_logprobs of the whole prompt, logprobs of the token that is decoded.
func (s *Server) completions(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Model    string          `json:"model"`
		Prompt   []backend.Token `json:"prompt"`
		Max      int             `json:"max_tokens"`
		Heat     *float64        `json:"temperature"`
		Logprobs int             `json:"logprobs"`
		Before   *int            `json:"prompt_logprobs"`
		AsIDs    bool            `json:"return_tokens_as_token_ids"`
		Stream   bool            `json:"stream"`
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		fail(w, http.StatusBadRequest, "%v", err)
		return
	}
	switch {
	case in.Model != s.Name:
		fail(w, http.StatusNotFound, "The model `%s` does not exist.", in.Model)
		return
	case in.Max != 1 || in.Heat == nil || *in.Heat != 0 || !in.AsIDs || in.Stream:
		fail(w, http.StatusBadRequest, "the fake knows requests of one greedy token only")
		return
	case in.Logprobs > s.Most || (in.Before != nil && *in.Before > s.Most):
		fail(w, http.StatusBadRequest, "Requested sample logprobs of %d, which is greater than max allowed: %d", in.Logprobs, s.Most)
		return
	}
	from := len(in.Prompt) - 1
	if in.Before != nil {
		from = 0
	}
	rows := s.score(w, r, in.Prompt, from, in.Logprobs)
	if rows == nil {
		return
	}
	last := rows[len(rows)-1]
	tops := map[string]float32{}
	for _, x := range last {
		tops[fmt.Sprintf("token_id:%d", x.Token)] = x.Logprob
	}
	choice := map[string]any{"index": 0, "text": "", "finish_reason": "length",
		"logprobs": map[string]any{"top_logprobs": []any{tops}, "tokens": []string{fmt.Sprintf("token_id:%d", last[0].Token)}, "token_logprobs": []float32{last[0].Logprob}}}
	if in.Before != nil {
		choice["prompt_logprobs"] = promptLogprobs(in.Prompt, rows)
	}
	reply(w, map[string]any{"id": "cmpl-1", "object": "text_completion", "model": s.Name, "choices": []any{choice}})
}

// promptLogprobs has the prompt's own token in each entry beside the most probable ones.
func promptLogprobs(prompt []backend.Token, rows []row) []any {
	type logprob struct {
		Logprob float32 `json:"logprob"`
		Rank    int     `json:"rank"`
		Decoded string  `json:"decoded_token"`
	}
	out := []any{nil}
	for i := 1; i < len(prompt); i++ {
		top := rows[i-1]
		entry := map[string]logprob{}
		own := logprob{Logprob: top[len(top)-1].Logprob - 1, Rank: len(top) + 7} // its true value is not known here
		for j, x := range top {
			l := logprob{Logprob: x.Logprob, Rank: j + 1}
			entry[fmt.Sprint(x.Token)] = l
			if x.Token == prompt[i] {
				own = l
			}
		}
		entry[fmt.Sprint(prompt[i])] = own
		out = append(out, entry)
	}
	return out
}

// generate is SGLang's scoring.
func (s *Server) generate(w http.ResponseWriter, r *http.Request) {
	var in struct {
		IDs      []backend.Token `json:"input_ids"`
		Sampling struct {
			Heat *float64 `json:"temperature"`
			Max  int      `json:"max_new_tokens"`
		} `json:"sampling_params"`
		Logprob bool `json:"return_logprob"`
		Start   int  `json:"logprob_start_len"`
		Top     int  `json:"top_logprobs_num"`
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		fail(w, http.StatusBadRequest, "%v", err)
		return
	}
	if in.Sampling.Max != 1 || in.Sampling.Heat == nil || *in.Sampling.Heat != 0 || !in.Logprob || in.Start >= len(in.IDs) {
		fail(w, http.StatusBadRequest, "the fake knows requests of one greedy token with log probabilities only")
		return
	}
	rows := s.score(w, r, in.IDs, in.Start, in.Top)
	if rows == nil {
		return
	}
	entries := func(x row) []any {
		out := make([]any, len(x))
		for i, t := range x {
			out[i] = []any{t.Logprob, t.Token, nil}
		}
		return out
	}
	input := []any{nil}
	for _, x := range rows[:len(rows)-1] {
		input = append(input, entries(x))
	}
	last := rows[len(rows)-1]
	reply(w, map[string]any{"text": "", "output_ids": []backend.Token{last[0].Token}, "meta_info": map[string]any{"id": "1", "prompt_tokens": len(in.IDs),
		"completion_tokens": 1, "cached_tokens": in.Start, "input_top_logprobs": input, "output_top_logprobs": []any{entries(last)}}})
}
