package translate

import (
	"unicode/utf8"

	"github.com/outrider-llm/outrider/tokenizer"
)

// A symbol is a byte of text (0 to 255), or a control token: 256 and more, its id in the target's
// vocabulary added. Logs of both vocabularies are compared as symbols.
type symbol = int32

const control symbol = 256

// words relates two vocabularies; it does not change.
type words struct {
	draft, target *tokenizer.Tokenizer
	toDraft       map[Token]Token // control tokens of the target
	toTarget      map[Token]Token // control tokens of the draft
	end           Token           // of the target, for ends of the draft that it has not; -1: none
	spellings     [][]Token       // of the draft's tokens within a text
	bytes         [256]Token      // the target's tokens of one byte, -1: none
}

// nothing stands for no token.
const nothing Token = -1

func newWords(draft, target *tokenizer.Tokenizer) *words {
	w := &words{draft: draft, target: target, toDraft: map[Token]Token{}, toTarget: map[Token]Token{}, end: nothing}
	for i := range w.bytes {
		w.bytes[i] = nothing
	}
	for k := range Token(target.Size()) {
		if b := target.Bytes(k); len(b) == 1 && w.bytes[b[0]] == nothing {
			w.bytes[b[0]] = k
		}
		if !target.IsControl(k) {
			continue
		}
		if d, ok := draft.ID(target.Piece(k)); ok && draft.IsControl(d) {
			w.toDraft[k], w.toTarget[d] = d, k
		}
	}
	w.ends()
	w.spellings = make([][]Token, draft.Size())
	for d := range w.spellings {
		w.spellings[d] = w.lookUp(Token(d), false)
	}
	return w
}

// ends pairs the tokens that end a text or a turn, as far as their pieces have not paired them.
func (w *words) ends() {
	best := func(t *tokenizer.Tokenizer) Token {
		if e, ok := t.EOS(); ok {
			return e
		}
		if all := t.EndTokens(); len(all) > 0 {
			return all[0]
		}
		return nothing
	}
	end := best(w.draft)
	w.end = best(w.target)
	for _, k := range w.target.EndTokens() {
		if _, ok := w.toDraft[k]; !ok && end >= 0 {
			w.toDraft[k] = end
		}
	}
	for _, d := range w.draft.EndTokens() {
		if _, ok := w.toTarget[d]; !ok && w.end >= 0 {
			w.toTarget[d] = w.end
		}
	}
}

// symbols appends those of a token of the target; start says that a text begins with it.
func (w *words) symbols(out []symbol, k Token, start bool) []symbol {
	if w.target.IsControl(k) {
		return append(out, control+k)
	}
	return appendBytes(out, w.target.Bytes(k), start && w.target.SpacePrefix())
}

// draftSymbols appends those of a token of the draft.
func (w *words) draftSymbols(out []symbol, d Token, start bool) []symbol {
	if w.draft.IsControl(d) {
		if k, ok := w.toTarget[d]; ok {
			return append(out, control+k)
		}
		return out
	}
	return appendBytes(out, w.draft.Bytes(d), start && w.draft.SpacePrefix())
}

func appendBytes(out []symbol, b []byte, trim bool) []symbol {
	if trim && len(b) > 0 && b[0] == ' ' {
		b = b[1:]
	}
	for _, c := range b {
		out = append(out, symbol(c))
	}
	return out
}

// begins says whether what follows the symbols begins a text.
func begins(s []symbol) bool { return len(s) == 0 || s[len(s)-1] >= control }

// textOf makes text of symbols that are all bytes.
func textOf(s []symbol) []byte {
	b := make([]byte, len(s))
	for i, c := range s {
		b[i] = byte(c)
	}
	return b
}

// whole is the length of b without a character at its end that further bytes may complete.
func whole(b []byte) int {
	for i := len(b) - 1; i >= 0 && i >= len(b)-utf8.UTFMax; i-- {
		if utf8.RuneStart(b[i]) {
			if !utf8.FullRune(b[i:]) {
				return i
			}
			break
		}
	}
	return len(b)
}

// textLength is how many symbols at the end of s are text.
func textLength(s []symbol) int {
	n := 0
	for n < len(s) && s[len(s)-1-n] < control {
		n++
	}
	return n
}

// partial is how many bytes at the end of s are of a character that is not whole yet.
func partial(s []symbol) int {
	n := min(textLength(s), utf8.UTFMax)
	b := textOf(s[len(s)-n:])
	return n - whole(b)
}

// spelling is a draft's token in the target's tokens; none if the target cannot say it.
func (w *words) spelling(d Token, start bool) []Token {
	if d < 0 || int(d) >= len(w.spellings) {
		return nil
	}
	if start {
		return w.lookUp(d, true)
	}
	return w.spellings[d]
}

// firstOf is the first token of the spelling, nothing if there is none.
func (w *words) firstOf(d Token, start bool) Token {
	if s := w.spelling(d, start); len(s) > 0 {
		return s[0]
	}
	return nothing
}

func (w *words) lookUp(d Token, start bool) []Token {
	if w.draft.IsControl(d) {
		if k, ok := w.toTarget[d]; ok {
			return []Token{k}
		}
		return nil
	}
	b := w.draft.Bytes(d)
	if start && w.draft.SpacePrefix() && len(b) > 0 && b[0] == ' ' {
		b = b[1:]
	}
	switch n := whole(b); {
	case len(b) == 0:
		return nil
	case n == 0 || !utf8.Valid(b[:n]):
		if k := w.bytes[b[0]]; k >= 0 {
			return []Token{k}
		}
		return nil
	default:
		return w.target.Encode(string(b[:n]), tokenizer.Options{Continue: !start})
	}
}
