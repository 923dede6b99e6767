package edge

import (
	"context"
	"strings"

	"github.com/outrider-llm/outrider/tokenizer"
)

// MaxPromptBytes bounds the text of a request.
const MaxPromptBytes = 64 << 20

// largePrompt is how many bytes are put into tokens without asking first whether they can fit.
const largePrompt = 64 << 10

// bytes counts a request's text: all of it, and the part that every chat template writes.
func (r *Request) bytes() (all, sure int) {
	all, sure = len(r.Prompt), len(r.Prompt)
	for i, m := range r.Messages {
		all += len(m.Content)
		if i == len(r.Messages)-1 {
			sure += len(strings.TrimSpace(m.Content))
		}
	}
	for _, t := range r.Tools {
		all += len(t)
	}
	return all, sure
}

// fits refuses text that is too long for the target, whatever its tokens are: finding them would take
// long. With no cloud in reach nothing is known.
func (e *Edge) fits(ctx context.Context, r *Request, t *tokenizer.Tokenizer) error {
	_, n := r.bytes()
	if n < largePrompt || t == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	e.link.mu.Lock()
	conn := e.link.conn
	e.link.mu.Unlock()
	targets, err := e.link.list(ctx, conn)
	if err != nil {
		return nil
	}
	name := r.Model
	if name == "" {
		name = e.c.Model
	}
	for _, m := range targets {
		if name != "" && m.GetName() != name {
			continue
		}
		if room := int(m.GetContextLength()); room > 0 && n/max(1, t.Longest()) > room {
			return requestError("the prompt has %d bytes, which do not fit into the context of target %s (%d tokens): shorten it", n, m.GetName(), room)
		}
		break
	}
	return nil
}
