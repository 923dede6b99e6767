package tokenizer

import (
	"fmt"
	"strings"
)

// spm is SentencePiece's BPE (Kudo and Richardson, arXiv 1808.06226) as llama.cpp runs it: merge
// the neighbours whose union has the highest score; what stays unknown becomes byte tokens.
type spm struct {
	id     map[string]Token
	scores []float32
	bytes  [256]Token
}

const spaceMark = "\u2581"

// spm completes a tokenizer of model "llama".
func (t *Tokenizer) spm(scores []float32) error {
	if len(scores) < len(t.pieces) {
		return fmt.Errorf("%w: %d scores for %d tokens", ErrVocabulary, len(scores), len(t.pieces))
	}
	e := &spm{id: make(map[string]Token, len(t.pieces)), scores: scores}
	unk := unknown
	t.raw = make([][]byte, len(t.pieces))
	for i, s := range t.pieces {
		switch t.kinds[i] {
		case kindControl:
			continue // text never merges into one, while llama.cpp lets it
		case kindUnknown:
			unk = Token(i)
			continue
		case kindByte:
			t.raw[i] = byteOf(s)
		case kindUser:
			t.raw[i] = []byte(s)
		default:
			t.raw[i] = []byte(strings.ReplaceAll(s, spaceMark, " "))
		}
		if _, dup := e.id[s]; !dup {
			e.id[s] = Token(i)
		}
	}
	for b := range 256 {
		id, ok := t.id[fmt.Sprintf("<0x%02X>", b)]
		if !ok {
			if id, ok = t.id[string([]byte{byte(b)})]; !ok {
				id = unk
			}
		}
		e.bytes[b] = id
	}
	t.enc = e
	t.fingerprint(scoreText(scores[:min(len(scores), t.used())]))
	return nil
}

func (e *spm) encode(out []Token, text string) []Token {
	text = strings.ReplaceAll(text, " ", spaceMark)
	syms := make([]symbol, 0, len(text))
	for i := 0; i < len(text); {
		n := min(sequenceLength(text[i]), len(text)-i)
		id, ok := e.id[text[i:i+n]]
		if !ok {
			id = unknown
		}
		syms = append(syms, symbol{id: id, from: i, to: i + n})
		i += n
	}
	link(syms)
	mergeAll(syms, func(a, b *symbol) (Token, float64, bool) {
		to, ok := e.id[text[a.from:b.to]]
		if !ok {
			return 0, 0, false
		}
		return to, -float64(e.scores[to]), true
	})
	for _, s := range syms {
		switch {
		case s.id == merged:
		case s.id >= 0:
			out = append(out, s.id)
		default:
			out = e.spell(out, text[s.from:s.to])
		}
	}
	return out
}

func (e *spm) spell(out []Token, text string) []Token {
	for i := range len(text) {
		if id := e.bytes[text[i]]; id >= 0 {
			out = append(out, id)
		}
	}
	return out
}
