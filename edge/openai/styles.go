package openai

import (
	"encoding/json"
	"sync"

	"github.com/outrider-llm/outrider/chat/reply"
	"github.com/outrider-llm/outrider/edge"
	"github.com/outrider-llm/outrider/tokenizer"
)

// styles remembers how targets write, by tokenizer and template variables.
type styles struct {
	mu    sync.Mutex
	known map[styleKey]reply.Style
}

type styleKey struct {
	tok       *tokenizer.Tokenizer
	variables string
}

// maxStyles bounds what is remembered.
const maxStyles = 64

func (s *styles) of(t *tokenizer.Tokenizer, variables map[string]any) reply.Style {
	b, _ := json.Marshal(variables) // of JSON, never fails; keys are sorted
	key := styleKey{t, string(b)}
	s.mu.Lock()
	style, ok := s.known[key]
	s.mu.Unlock()
	if ok {
		return style
	}
	style = edge.AnswerStyle(t, variables)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known == nil || len(s.known) >= maxStyles {
		s.known = map[styleKey]reply.Style{}
	}
	s.known[key] = style
	return style
}
