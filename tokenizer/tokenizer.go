// Package tokenizer turns text into a model's token ids and back, exactly as llama.cpp does for the
// same vocabulary. Vocabularies come from GGUF metadata: byte-level BPE ("gpt2"), BPE on characters
// ("gemma4") and SentencePiece ("llama").
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
	kindUnused  = 5
	kindByte    = 6
)

// Tokenizer is immutable and safe for concurrent use.
type Tokenizer struct {
	model    string // "gpt2" or "llama"
	pieces   []string
	kinds    []int8
	raw      [][]byte // text bytes of each token, empty for control tokens
	id       map[string]Token
	special  []Token         // control and user-defined, longest piece first
	starts   map[string]bool // first two bytes of their pieces
	lengths  []int           // of their pieces
	strip    []stripping     // by token, nil when none takes white space with it
	harmony  bool            // <|end|> ends a message only
	enc      encoder
	bos, eos Token // -1: none
	addBOS   bool
	addEOS   bool
	prefix   bool // SentencePiece: a space goes before the text
	end      []Token
	template string
	print    string
}

// encoder tokenizes text without special tokens.
type encoder interface {
	encode(out []Token, text string) []Token
	spell(out []Token, text string) []Token // byte by byte
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
	t.correct()
	t.index()
	name, _ := f.String("general.name")
	t.phi3(strings.ToLower(name))
	var err error
	pre, _ := f.String("tokenizer.ggml.pre")
	switch model {
	case "gemma4":
		pre = model
		fallthrough
	case "gpt2":
		merges, _ := f.Strings("tokenizer.ggml.merges")
		err = t.bpe(merges, pre)
	case "llama":
		scores, _ := f.Floats("tokenizer.ggml.scores")
		t.addBOS, t.prefix = true, true
		t.spmDefaults(f)
		if v, ok := f.Bool("tokenizer.ggml.add_space_prefix"); ok {
			t.prefix = v
		}
		err = t.spm(scores)
	default:
		err = fmt.Errorf("%w: model %q (known: gpt2, gemma4, llama)", ErrUnsupported, model)
	}
	if err != nil {
		return nil, err
	}
	if v, ok := f.Bool("tokenizer.ggml.add_bos_token"); ok && model != "gemma4" {
		t.addBOS = v // Gemma 4 files say false and mean true
	}
	t.addEOS, _ = f.Bool("tokenizer.ggml.add_eos_token")
	t.ends(special(f, "eot", len(pieces)), special(f, "eom", len(pieces)))
	return t, nil
}

// spmDefaults are the ids that SentencePiece models use when the file names none.
func (t *Tokenizer) spmDefaults(f *gguf.File) {
	if _, ok := f.Uint("tokenizer.ggml.bos_token_id"); !ok && len(t.pieces) > 1 {
		t.bos = 1
	}
	if _, ok := f.Uint("tokenizer.ggml.eos_token_id"); !ok && len(t.pieces) > 2 {
		t.eos = 2
	}
}

func special(f *gguf.File, name string, size int) Token {
	v, ok := f.Uint("tokenizer.ggml." + name + "_token_id")
	if !ok || v >= uint64(size) {
		return -1
	}
	return Token(v)
}

// fingerprint names the vocabulary: equal for two files whose ids mean the same. Rows at the end that
// stand for no token are left out, since files of one family are padded to different lengths.
func (t *Tokenizer) fingerprint(rules ...string) {
	h := sha256.New()
	write := func(s string) { fmt.Fprintf(h, "%d:%s", len(s), s) } // a hash never fails
	write(t.model)
	for i, p := range t.pieces[:t.used()] {
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

// Longest is the length in bytes of the longest token's piece: no token stands for more text, special
// ones apart that also take the spaces beside them.
func (t *Tokenizer) Longest() int {
	n := 0
	for _, p := range t.pieces {
		n = max(n, len(p))
	}
	return n
}

// Fingerprint names the vocabulary; equal fingerprints mean equal ids for every text.
func (t *Tokenizer) Fingerprint() string { return t.print }

// BOS returns the token that begins a text.
func (t *Tokenizer) BOS() (Token, bool) { return t.bos, t.bos >= 0 }

// EOS returns the token that ends a text.
func (t *Tokenizer) EOS() (Token, bool) { return t.eos, t.eos >= 0 }

// AddBOS says whether the model wants its texts to begin with BOS.
func (t *Tokenizer) AddBOS() bool { return t.addBOS && t.bos >= 0 }

// AddEOS says whether the model wants its texts to end with EOS (embedding models do).
func (t *Tokenizer) AddEOS() bool { return t.addEOS && t.eos >= 0 }

// SpacePrefix says whether a space goes before a text that begins, as in SentencePiece.
func (t *Tokenizer) SpacePrefix() bool { return t.prefix }

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
