package openai

import (
	"github.com/outrider-llm/outrider/edge"
	"github.com/outrider-llm/outrider/tokenizer"
)

// maxLogprobs is how many alternatives a request may ask for, as in OpenAI's API.
const maxLogprobs = 20

// logprob is a token with its probability, as chat completions tell it.
type logprob struct {
	Token   string     `json:"token"`
	Logprob float64    `json:"logprob"`
	Bytes   []int      `json:"bytes"`
	Top     *[]logprob `json:"top_logprobs,omitempty"`
}

// logprobs are those of a choice.
type logprobs struct {
	Content []logprob `json:"content"`
	Refusal []logprob `json:"refusal"`
}

// entry tells one token.
func entry(t *tokenizer.Tokenizer, id edge.Token, value float32) logprob {
	var raw []byte
	if t != nil {
		if raw = t.Bytes(id); len(raw) == 0 && t.IsControl(id) {
			raw = []byte(t.Piece(id))
		}
	}
	bytes := make([]int, len(raw))
	for i, b := range raw {
		bytes[i] = int(b)
	}
	return logprob{Token: string(raw), Logprob: max(float64(value), -9999), Bytes: bytes} // JSON has no infinity
}

func logprobsOf(t *tokenizer.Tokenizer, tokens []edge.GeneratedToken) *logprobs {
	out := &logprobs{Content: []logprob{}}
	for _, k := range tokens {
		e, top := entry(t, k.ID, k.Logprob), []logprob{}
		for _, a := range k.Top {
			top = append(top, entry(t, a.ID, a.Logprob))
		}
		e.Top = &top
		out.Content = append(out.Content, e)
	}
	return out
}

// completionLogprobs is the older shape, of /v1/completions.
type completionLogprobs struct {
	Tokens  []string             `json:"tokens"`
	Values  []float64            `json:"token_logprobs"`
	Top     []map[string]float64 `json:"top_logprobs"`
	Offsets []int                `json:"text_offset"`
}

// add appends tokens; offset is where their text begins in the answer.
func (l *completionLogprobs) add(t *tokenizer.Tokenizer, tokens []edge.GeneratedToken, offset int) {
	for _, k := range tokens {
		e := entry(t, k.ID, k.Logprob)
		top := map[string]float64{}
		for _, a := range k.Top {
			x := entry(t, a.ID, a.Logprob)
			top[x.Token] = x.Logprob
		}
		l.Tokens, l.Values = append(l.Tokens, e.Token), append(l.Values, e.Logprob)
		l.Top, l.Offsets = append(l.Top, top), append(l.Offsets, offset)
		offset += len(k.Text)
	}
}

func newCompletionLogprobs() *completionLogprobs {
	return &completionLogprobs{Tokens: []string{}, Values: []float64{}, Top: []map[string]float64{}, Offsets: []int{}}
}
