// Package tokenizer turns text into a model's token ids and back, exactly as llama.cpp does for the
// same vocabulary. Vocabularies come from GGUF metadata: byte-level BPE ("gpt2") and SentencePiece
// ("llama").
package tokenizer

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/outrider-llm/outrider/gguf"
)

// Token is an id in the vocabulary.
type Token = int32

// Errors that FromGGUF and FromHF wrap.
var (
	ErrUnsupported = errors.New("unsupported tokenizer")
	ErrVocabulary  = errors.New("broken vocabulary")
)

// Kinds of tokens, as tokenizer.ggml.token_type numbers them.
const (
	kindNormal  = 1
	kindUnknown = 2
	kindControl = 3
	kindUser    = 4
	kindByte    = 6
)

// Options of Encode.
type Options struct {
	AddBOS       bool // begin with the BOS token
	ParseSpecial bool // read control tokens written in the text; off, text can never forge one
}

// Tokenizer is immutable and safe for concurrent use.
type Tokenizer struct {
	model    string // "gpt2" or "llama"
	pieces   []string
	kinds    []int8
	raw      [][]byte // text bytes of each token, empty for control tokens
	id       map[string]Token
	special  []Token // control and user-defined, longest piece first
	enc      encoder
	bos, eos Token // -1: none
	addBOS   bool
	prefix   bool // SentencePiece: a space goes before the text
	end      []Token
	template string
	print    string
}

// encoder tokenizes text without special tokens.
type encoder interface {
	encode(out []Token, text string) []Token
}

// FromGGUF reads the tokenizer of a model file.
func FromGGUF(f *gguf.File) (*Tokenizer, error) {
	model, _ := f.String("tokenizer.ggml.model")
	pieces, ok := f.Strings("tokenizer.ggml.tokens")
	if !ok || len(pieces) == 0 {
		return nil, fmt.Errorf("%w: the file has no tokenizer.ggml.tokens", ErrVocabulary)
	}
	t := &Tokenizer{model: model, pieces: pieces, bos: -1, eos: -1}
	t.kinds = make([]int8, len(pieces))
	types, _ := f.Ints("tokenizer.ggml.token_type")
	for i := range t.kinds {
		t.kinds[i] = kindNormal
		if i < len(types) {
			t.kinds[i] = int8(types[i])
		}
	}
	t.bos, t.eos = special(f, "bos", len(pieces)), special(f, "eos", len(pieces))
	t.template, _ = f.String("tokenizer.chat_template")
	t.index()
	var err error
	switch model {
	case "gpt2":
		merges, _ := f.Strings("tokenizer.ggml.merges")
		pre, _ := f.String("tokenizer.ggml.pre")
		err = t.bpe(merges, pre)
	case "llama":
		scores, _ := f.Floats("tokenizer.ggml.scores")
		t.addBOS, t.prefix = true, true
		if v, ok := f.Bool("tokenizer.ggml.add_space_prefix"); ok {
			t.prefix = v
		}
		err = t.spm(scores)
	default:
		err = fmt.Errorf("%w: model %q (known: gpt2, llama)", ErrUnsupported, model)
	}
	if err != nil {
		return nil, err
	}
	if v, ok := f.Bool("tokenizer.ggml.add_bos_token"); ok {
		t.addBOS = v
	}
	t.ends(special(f, "eot", len(pieces)))
	return t, nil
}

func special(f *gguf.File, name string, size int) Token {
	v, ok := f.Uint("tokenizer.ggml." + name + "_token_id")
	if !ok || v >= uint64(size) {
		return -1
	}
	return Token(v)
}

// index builds the lookups that both models share.
func (t *Tokenizer) index() {
	t.id = make(map[string]Token, len(t.pieces))
	for i, p := range t.pieces {
		if _, dup := t.id[p]; !dup {
			t.id[p] = Token(i)
		}
		if k := t.kinds[i]; (k == kindControl || k == kindUser || k == kindUnknown) && p != "" {
			t.special = append(t.special, Token(i))
		}
	}
	slices.SortStableFunc(t.special, func(a, b Token) int { return len(t.pieces[b]) - len(t.pieces[a]) })
}

// wellKnownEnds are pieces that end a turn or a text in the common chat formats.
var wellKnownEnds = []string{"<|end|>", "<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<end_of_turn>", "<turn|>",
	"<|endoftext|>", "<|end_of_text|>", "<|return|>", "</s>", "<|end▁of▁sentence|>", "<EOT>", "<|END_OF_TURN_TOKEN|>"}

func (t *Tokenizer) ends(eot Token) {
	add := func(e Token) {
		if e >= 0 && !slices.Contains(t.end, e) {
			t.end = append(t.end, e)
		}
	}
	add(t.eos)
	add(eot)
	for _, p := range wellKnownEnds {
		if e, ok := t.id[p]; ok && t.kinds[e] == kindControl {
			add(e)
		}
	}
	slices.Sort(t.end)
}

// fingerprint names the vocabulary: equal for two files whose ids mean the same.
func (t *Tokenizer) fingerprint(rules ...string) {
	h := sha256.New()
	write := func(s string) { fmt.Fprintf(h, "%d:%s", len(s), s) } // a hash never fails
	write(t.model)
	for i, p := range t.pieces {
		write(p)
		h.Write([]byte{byte(t.kinds[i])})
	}
	for _, r := range rules {
		write(r)
	}
	t.print = hex.EncodeToString(h.Sum(nil)[:12])
}

// Size is the number of tokens in the vocabulary.
func (t *Tokenizer) Size() int { return len(t.pieces) }

// Fingerprint names the vocabulary; equal fingerprints mean equal ids for every text.
func (t *Tokenizer) Fingerprint() string { return t.print }

// BOS returns the token that begins a text.
func (t *Tokenizer) BOS() (Token, bool) { return t.bos, t.bos >= 0 }

// EOS returns the token that ends a text.
func (t *Tokenizer) EOS() (Token, bool) { return t.eos, t.eos >= 0 }

// AddBOS says whether the model wants its texts to begin with BOS.
func (t *Tokenizer) AddBOS() bool { return t.addBOS && t.bos >= 0 }

// EndTokens are the tokens after which generation ends, ascending.
func (t *Tokenizer) EndTokens() []Token { return slices.Clone(t.end) }

// ChatTemplate is the model's Jinja chat template, empty when it has none.
func (t *Tokenizer) ChatTemplate() string { return t.template }

// ID returns the token whose piece is stored as p.
func (t *Tokenizer) ID(p string) (Token, bool) {
	i, ok := t.id[p]
	return i, ok
}

// Piece returns a token as stored in the vocabulary.
func (t *Tokenizer) Piece(k Token) string {
	if k < 0 || int(k) >= len(t.pieces) {
		return ""
	}
	return t.pieces[k]
}

// IsControl reports whether a token carries no text.
func (t *Tokenizer) IsControl(k Token) bool {
	return k >= 0 && int(k) < len(t.kinds) && (t.kinds[k] == kindControl || t.kinds[k] == kindUnknown)
}

// Bytes returns the text bytes of a token, none for control tokens; do not change them.
func (t *Tokenizer) Bytes(k Token) []byte {
	if k < 0 || int(k) >= len(t.raw) {
		return nil
	}
	return t.raw[k]
}

// Encode turns text into tokens. Invalid UTF-8 is taken byte by byte.
func (t *Tokenizer) Encode(text string, o Options) []Token {
	var out []Token
	if o.AddBOS && t.bos >= 0 {
		out = append(out, t.bos)
	}
	afterSpecial := true
	for _, p := range t.partition(text, o.ParseSpecial) {
		if p.token >= 0 {
			out = append(out, p.token)
			afterSpecial = true
			continue
		}
		s := p.text
		if t.prefix && afterSpecial {
			s = " " + s
		}
		out = t.enc.encode(out, s)
		afterSpecial = false
	}
	return out
}

// part is raw text, or a special token when token >= 0.
type part struct {
	text  string
	token Token
}

// partition cuts special tokens out of the text, the longest first.
func (t *Tokenizer) partition(text string, parse bool) []part {
	if text == "" {
		return nil
	}
	parts := []part{{text, -1}}
	for _, k := range t.special {
		if t.kinds[k] != kindUser && !parse {
			continue
		}
		piece := t.pieces[k]
		if !strings.Contains(text, piece) {
			continue
		}
		var next []part
		for _, p := range parts {
			if p.token >= 0 {
				next = append(next, p)
				continue
			}
			next = cut(next, p.text, piece, k)
		}
		parts = next
	}
	return parts
}

func cut(out []part, text, piece string, k Token) []part {
	for {
		i := strings.Index(text, piece)
		if i < 0 {
			break
		}
		if i > 0 {
			out = append(out, part{text[:i], -1})
		}
		out = append(out, part{piece, k})
		text = text[i+len(piece):]
	}
	if text != "" {
		out = append(out, part{text, -1})
	}
	return out
}

// pairKey packs two ids for the merge table.
func pairKey(a, b Token) uint64 { return uint64(uint32(a))<<32 | uint64(uint32(b)) }

func scoreText(scores []float32) string {
	b := make([]byte, 0, 4*len(scores))
	for _, s := range scores {
		v := math.Float32bits(s)
		b = append(b, byte(v), byte(v>>8), byte(v>>16), byte(v>>24))
	}
	return string(b)
}
