package tokenizer

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// bpe is byte-pair encoding as llama.cpp runs it: byte-level (Radford et al. 2019; Sennrich et al.,
// arXiv 1508.07909), or on characters with ▁ for the space (Gemma 4).
type bpe struct {
	pre    preTokenizer
	size   Token // of the vocabulary; ids from here on stand for strings that only merges know
	sym    map[string]Token
	bytes  [256]Token // a byte as first symbol of a word; unknown: no such token
	spare  [256]Token // the token of a byte that stays over (characters only)
	merges map[uint64]mergeRule
	whole  map[string]Token // pieces by raw bytes, when whole words skip the merges
	text   []string         // of the ids from size on
}

type mergeRule struct {
	rank int32
	to   Token
}

// bpe completes a tokenizer of model "gpt2" or "gemma4".
func (t *Tokenizer) bpe(merges []string, pre string) error {
	p, ok := preTokenizers[pre]
	if !ok {
		return fmt.Errorf("%w: pre-tokenizer %q (known: %s)", ErrUnsupported, pre, knownPre())
	}
	e := &bpe{pre: p, size: Token(len(t.pieces)), sym: make(map[string]Token, len(t.pieces)), merges: make(map[uint64]mergeRule, len(merges))}
	t.addBOS = t.addBOS || p.addBOS
	e.pieces(t)
	for rank, m := range merges {
		e.merge(int32(rank), m)
	}
	for b := range 256 {
		e.bytes[b], e.spare[b] = unknown, unknown
		if id, ok := e.sym[string(byteRunes[b])]; ok && !p.raw {
			e.bytes[b] = id
		}
		if id, ok := t.id[fmt.Sprintf("<0x%02X>", b)]; ok && p.raw {
			e.spare[b] = id
		}
	}
	t.enc = e
	t.fingerprint(append([]string{pre}, merges...)...)
	return nil
}

// pieces takes over the vocabulary.
func (e *bpe) pieces(t *Tokenizer) {
	if e.pre.ignoreMerges {
		e.whole = make(map[string]Token, len(t.pieces))
	}
	t.raw = make([][]byte, len(t.pieces))
	for i, s := range t.pieces {
		switch t.kinds[i] {
		case kindControl, kindUnknown:
			continue
		case kindUser:
			t.raw[i] = []byte(s)
		case kindByte:
			t.raw[i] = byteOf(s)
		default:
			if e.pre.raw {
				t.raw[i] = []byte(strings.ReplaceAll(s, spaceMark, " "))
			} else {
				t.raw[i] = fromByteText(s)
			}
		}
		e.sym[s] = t.id[s]
		if e.whole != nil && t.kinds[i] != kindUser {
			e.whole[string(t.raw[i])] = Token(i)
		}
	}
}

// merge adds the rule "left right". As in llama.cpp, what it makes need not be a token.
func (e *bpe) merge(rank int32, m string) {
	if len(m) < 3 {
		return
	}
	i := strings.IndexByte(m[1:], ' ') + 1
	if i < 1 || i+1 >= len(m) {
		return
	}
	a, b, to := e.symbol(m[:i]), e.symbol(m[i+1:]), e.symbol(m[:i]+m[i+1:])
	if _, dup := e.merges[pairKey(a, b)]; !dup {
		e.merges[pairKey(a, b)] = mergeRule{rank, to}
	}
}

// symbol returns the id of a string, a new one beyond the vocabulary when it is no token.
func (e *bpe) symbol(s string) Token {
	id, ok := e.sym[s]
	if !ok {
		id = e.size + Token(len(e.text))
		e.sym[s] = id
		e.text = append(e.text, s)
	}
	return id
}

func (e *bpe) encode(out []Token, text string) []Token {
	text = normalize(text)
	if e.pre.raw {
		text = strings.ReplaceAll(text, " ", spaceMark)
	}
	words(text, e.pre.stages, func(w string) { out = e.word(out, w) })
	return out
}

func (e *bpe) word(out []Token, w string) []Token {
	if id, ok := e.whole[w]; ok {
		return append(out, id)
	}
	syms := e.symbols(w)
	link(syms)
	mergeAll(syms, func(a, b *symbol) (Token, float64, bool) {
		r, ok := e.merges[pairKey(a.id, b.id)]
		return r.to, float64(r.rank), ok
	})
	for _, s := range syms {
		switch {
		case s.id == merged:
		case s.id >= 0 && s.id < e.size:
			out = append(out, s.id)
		default:
			out = e.leftOver(out, s, w)
		}
	}
	return out
}

// symbols is what merging begins with: the bytes of a word, or its characters.
func (e *bpe) symbols(w string) []symbol {
	if !e.pre.raw {
		syms := make([]symbol, len(w))
		for i := range len(w) {
			syms[i] = symbol{id: e.bytes[w[i]], from: i, to: i + 1}
		}
		return syms
	}
	if id, ok := e.sym[w]; ok && e.pre.wholeLines && id < e.size && w[0] == '\n' {
		return []symbol{{id: id, to: len(w)}} // a run of line ends is taken whole
	}
	syms := make([]symbol, 0, len(w))
	for i := 0; i < len(w); {
		_, n := decode(w[i:])
		id, ok := e.sym[w[i:i+n]]
		if !ok {
			id = unknown
		}
		syms = append(syms, symbol{id: id, from: i, to: i + n})
		i += n
	}
	return syms
}

// leftOver writes a symbol that is no token byte by byte. A byte that the vocabulary lacks is
// dropped, as llama.cpp does.
func (e *bpe) leftOver(out []Token, s symbol, w string) []Token {
	text := w[s.from:s.to]
	if !e.pre.raw {
		if s.id < e.size {
			return out
		}
		text = e.text[s.id-e.size]
	}
	return e.spell(out, text)
}

func (e *bpe) spell(out []Token, text string) []Token {
	for i := range len(text) {
		id := e.spare[text[i]]
		if !e.pre.raw {
			var ok bool
			if id, ok = e.sym[text[i:i+1]]; !ok {
				continue
			}
		}
		if id >= 0 && id < e.size {
			out = append(out, id)
		}
	}
	return out
}

// byteOf reads the byte of a piece <0xXX>.
func byteOf(s string) []byte {
	var b byte
	if _, err := fmt.Sscanf(s, "<0x%02X>", &b); err != nil {
		return nil
	}
	return []byte{b}
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
