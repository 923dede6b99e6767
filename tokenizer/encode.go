package tokenizer

import "strings"

// Options of Encode.
type Options struct {
	AddBOS       bool // begin with the BOS token
	ParseSpecial bool // read control tokens written in the text; off, text can never forge one
	// Exclude names user-defined tokens that this text must not yield either: user-defined tokens are
	// otherwise read in any text. A chat template's own markers are excluded from messages this way.
	Exclude map[Token]bool
	// Continue says that the text goes on from other text: SentencePiece then puts no space before it.
	Continue bool
}

// Encode turns text into tokens. What is not UTF-8 becomes U+FFFD in byte-level BPE, as in
// llama.cpp, and is taken byte by byte in SentencePiece.
func (t *Tokenizer) Encode(text string, o Options) []Token {
	var out []Token
	if o.AddBOS && t.bos >= 0 {
		out = append(out, t.bos)
	}
	return t.fragments(out, t.partition(text, o), o.Exclude, !o.Continue)
}

// Part is a piece of a text of mixed origin.
type Part struct {
	Text    string
	Special bool // control tokens written in it count
}

// EncodeParts turns parts into tokens as if they were one text, but finds control tokens in the
// special parts only. User-defined tokens in exclude are found there only, too.
func (t *Tokenizer) EncodeParts(parts []Part, exclude map[Token]bool) []Token {
	var all []part
	for _, p := range parts {
		o := Options{ParseSpecial: p.Special}
		if !p.Special {
			o.Exclude = exclude
		}
		for _, f := range t.partition(p.Text, o) {
			if n := len(all); f.token < 0 && n > 0 && all[n-1].token < 0 {
				all[n-1].text += f.text
				continue
			}
			all = append(all, f)
		}
	}
	return t.fragments(nil, all, exclude, true)
}

// SpecialSpans finds the control tokens written in a text, and the user-defined ones in also, as
// pairs of byte offsets.
func (t *Tokenizer) SpecialSpans(text string, also map[Token]bool) (spans [][2]int) {
	whole := *t
	whole.strip = nil
	at := 0
	for _, f := range whole.partition(text, Options{ParseSpecial: true}) {
		if f.token >= 0 && (t.kinds[f.token] != kindUser || also[f.token]) {
			spans = append(spans, [2]int{at, at + len(f.text)})
		}
		at += len(f.text)
	}
	return spans
}

// UserDefinedIn lists the user-defined tokens that are written in a text, blank ones left out.
func (t *Tokenizer) UserDefinedIn(text string) map[Token]bool {
	found := make(map[Token]bool)
	for k := range t.present(text) {
		if t.kinds[k] == kindUser && strings.TrimSpace(t.pieces[k]) != "" {
			found[k] = true
		}
	}
	return found
}

// fragments encodes raw text and passes special tokens through; first says that a text begins.
func (t *Tokenizer) fragments(out []Token, parts []part, exclude map[Token]bool, first bool) []Token {
	afterSpecial := first
	for _, p := range parts {
		if p.token >= 0 {
			out = append(out, p.token)
			afterSpecial = true
			continue
		}
		s := p.text
		if t.prefix && afterSpecial {
			s = " " + s
		}
		n := len(out)
		out = t.enc.encode(out, s)
		out = t.without(out, n, exclude)
		afterSpecial = false
	}
	return out
}

// without spells out the excluded tokens that merging has made from position n on.
func (t *Tokenizer) without(out []Token, n int, exclude map[Token]bool) []Token {
	found := false
	for _, k := range out[n:] {
		found = found || exclude[k]
	}
	if !found {
		return out
	}
	made := append([]Token(nil), out[n:]...)
	out = out[:n]
	for _, k := range made {
		if exclude[k] {
			out = t.enc.spell(out, t.pieces[k])
		} else {
			out = append(out, k)
		}
	}
	return out
}

// part is raw text, or a special token when token >= 0.
type part struct {
	text  string
	token Token
}

// partition cuts special tokens out of the text, the longest first.
func (t *Tokenizer) partition(text string, o Options) []part {
	if text == "" {
		return nil
	}
	parts := []part{{text, -1}}
	present := t.present(text)
	for _, k := range t.special {
		if !present[k] || o.Exclude[k] || (t.kinds[k] != kindUser && !o.ParseSpecial) {
			continue
		}
		var next []part
		for _, p := range parts {
			if p.token >= 0 {
				next = append(next, p)
				continue
			}
			next = t.cut(next, p.text, k)
		}
		parts = next
	}
	return parts
}

// present finds which special tokens stand in the text, in one pass over it.
func (t *Tokenizer) present(text string) map[Token]bool {
	found := make(map[Token]bool)
	for i := range len(text) {
		if !t.starts[text[i:min(i+2, len(text))]] && !t.starts[text[i:i+1]] {
			continue
		}
		for _, n := range t.lengths {
			if i+n > len(text) {
				break
			}
			if k, ok := t.id[text[i:i+n]]; ok && t.kinds[k] != kindNormal {
				found[k] = true
			}
		}
	}
	return found
}

// stripping is what a special token takes with it.
type stripping struct{ left, right bool }

const asciiSpace = " \t\n\v\f\r"

// cut splits text at each occurrence of token k.
func (t *Tokenizer) cut(out []part, text string, k Token) []part {
	piece := t.pieces[k]
	var strip stripping
	if t.strip != nil {
		strip = t.strip[k]
	}
	for {
		i := strings.Index(text, piece)
		if i < 0 {
			break
		}
		left := text[:i]
		if strip.left {
			left = strings.TrimRight(left, asciiSpace)
		}
		if left != "" {
			out = append(out, part{left, -1})
		}
		out = append(out, part{piece, k})
		text = text[i+len(piece):]
		if strip.right {
			text = strings.TrimLeft(text, asciiSpace)
		}
	}
	if text != "" {
		out = append(out, part{text, -1})
	}
	return out
}
