package tokenizer

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// bpe is byte-level byte-pair encoding (Radford et al. 2019; Sennrich et al., arXiv 1508.07909).
type bpe struct {
	split  []scanner
	bytes  [256]Token
	merges map[uint64]mergeRule
	whole  map[string]Token // pieces by raw bytes, when whole words skip the merges
}

type mergeRule struct {
	rank int32
	to   Token
}

// bpe completes a tokenizer of model "gpt2".
func (t *Tokenizer) bpe(merges []string, pre string) error {
	p, ok := preTokenizers[pre]
	if !ok {
		return fmt.Errorf("%w: pre-tokenizer %q (known: %s)", ErrUnsupported, pre, knownPre())
	}
	e := &bpe{split: p.scanners, merges: make(map[uint64]mergeRule, len(merges))}
	if p.ignoreMerges {
		e.whole = make(map[string]Token, len(t.pieces))
	}
	t.raw = make([][]byte, len(t.pieces))
	for i, s := range t.pieces {
		switch t.kinds[i] {
		case kindControl, kindUnknown:
			continue
		case kindUser:
			t.raw[i] = []byte(s)
			continue
		}
		t.raw[i] = fromByteText(s)
		if e.whole != nil {
			e.whole[string(t.raw[i])] = Token(i)
		}
	}
	for b := range 256 {
		id, ok := t.id[string(byteRunes[b])]
		if !ok {
			id = unknown
		}
		e.bytes[b] = id
	}
	for rank, m := range merges {
		// The first rune may be a space itself in no vocabulary: byte text maps it.
		i := strings.IndexByte(m, ' ')
		if i <= 0 || i+1 >= len(m) {
			return fmt.Errorf("%w: merge %d is %q", ErrVocabulary, rank, m)
		}
		a, okA := t.id[m[:i]]
		b, okB := t.id[m[i+1:]]
		to, okTo := t.id[m[:i]+m[i+1:]]
		if !okA || !okB || !okTo {
			continue
		}
		if _, dup := e.merges[pairKey(a, b)]; !dup {
			e.merges[pairKey(a, b)] = mergeRule{int32(rank), to}
		}
	}
	t.enc = e
	t.fingerprint(append([]string{pre}, merges...)...)
	return nil
}

func (e *bpe) encode(out []Token, text string) []Token {
	words(text, e.split, func(w string) { out = e.word(out, w) })
	return out
}

func (e *bpe) word(out []Token, w string) []Token {
	if id, ok := e.whole[w]; ok {
		return append(out, id)
	}
	syms := make([]symbol, len(w))
	for i := range len(w) {
		syms[i] = symbol{id: e.bytes[w[i]], from: i, to: i + 1}
	}
	link(syms)
	mergeAll(syms, func(a, b *symbol) (Token, float64, bool) {
		r, ok := e.merges[pairKey(a.id, b.id)]
		return r.to, float64(r.rank), ok
	})
	for _, s := range syms {
		if s.id >= 0 { // a byte that the vocabulary lacks is dropped, as llama.cpp does
			out = append(out, s.id)
		}
	}
	return out
}

// byteRunes is GPT-2's mapping of bytes to printable characters.
var byteRunes = func() (r [256]rune) {
	next := rune(256)
	for b := range r {
		if (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174 {
			r[b] = rune(b)
			continue
		}
		r[b] = next
		next++
	}
	return r
}()

var runeBytes = func() map[rune]byte {
	m := make(map[rune]byte, 256)
	for b, r := range byteRunes {
		m[r] = byte(b)
	}
	return m
}()

// fromByteText undoes byteRunes; a piece with other characters stands for itself.
func fromByteText(s string) []byte {
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		b, ok := runeBytes[r]
		if !ok {
			return []byte(s)
		}
		out = append(out, b)
		i += n
	}
	return out
}
