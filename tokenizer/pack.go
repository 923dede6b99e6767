package tokenizer

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/outrider-llm/outrider/gguf"
)

// Bounds on a tokenizer that comes from elsewhere. The largest published vocabularies (262,144 tokens,
// half a million merges) take about 16 MiB, 6 MiB compressed.
const (
	MaxPacked   = 32 << 20 // compressed
	MaxUnpacked = 64 << 20
	maxTokens   = 1 << 20
)

// ErrPacked says that a packed tokenizer is broken, too large or not the one that was asked for.
var ErrPacked = errors.New("not a usable tokenizer")

// Packed is a model's tokenizer without the model: a GGUF file of the metadata that FromGGUF reads,
// compressed.
type Packed struct {
	Data       []byte   // gzip
	Size       int      // of the GGUF file, bytes
	Digest     [32]byte // its SHA-256
	Vocabulary string   // the tokenizer's fingerprint
}

// Pack takes the tokenizer out of a model file. The outcome depends on the metadata alone.
func Pack(f *gguf.File) (*Packed, error) {
	t, err := FromGGUF(f)
	if err != nil {
		return nil, err
	}
	keys := slices.Sorted(slices.Values(f.Keys()))
	var kvs []gguf.KV
	for _, k := range keys {
		if v, ok := portable(f, k); ok {
			kvs = append(kvs, gguf.KV{Key: k, Value: v})
		}
	}
	var raw, packed bytes.Buffer
	if err := gguf.Write(&raw, kvs, nil); err != nil {
		return nil, err
	}
	w := gzip.NewWriter(&packed)
	_, _ = w.Write(raw.Bytes()) // a Buffer never fails
	_ = w.Close()
	if raw.Len() > MaxUnpacked || packed.Len() > MaxPacked {
		return nil, fmt.Errorf("%w: it has %d bytes, %d are allowed", ErrPacked, raw.Len(), MaxUnpacked)
	}
	p := &Packed{Data: packed.Bytes(), Size: raw.Len(), Digest: sha256.Sum256(raw.Bytes()), Vocabulary: t.Fingerprint()}
	return p, nil
}

// portable returns a value that belongs to the tokenizer, in a type that gguf.Write knows.
func portable(f *gguf.File, key string) (any, bool) {
	if key != "general.name" && key != "general.architecture" && !strings.HasPrefix(key, "tokenizer.ggml.") &&
		!strings.HasPrefix(key, "tokenizer.chat_template") {
		return nil, false
	}
	if s, ok := f.String(key); ok {
		return s, true
	}
	if b, ok := f.Bool(key); ok {
		return b, true
	}
	if s, ok := f.Strings(key); ok {
		return s, true
	}
	if v, ok := f.Floats(key); ok {
		return v, true
	}
	if u, ok := f.Uint(key); ok {
		return u, true
	}
	if key != "tokenizer.ggml.token_type" {
		return nil, false // other integers and bytes are not read by FromGGUF
	}
	v, ok := f.Ints(key)
	out := make([]int32, len(v))
	for i, n := range v {
		out[i] = int32(n)
	}
	return out, ok
}

// Unpack undoes Pack, with all that came from elsewhere bounded and checked. It also returns the
// GGUF file, for Parse. Errors wrap ErrPacked.
func Unpack(data []byte, digest [32]byte) (raw []byte, t *Tokenizer, err error) {
	if len(data) > MaxPacked {
		return nil, nil, fmt.Errorf("%w: %d bytes, %d are allowed", ErrPacked, len(data), MaxPacked)
	}
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrPacked, err)
	}
	raw, err = io.ReadAll(io.LimitReader(z, MaxUnpacked+1))
	switch {
	case err != nil:
		return nil, nil, fmt.Errorf("%w: %w", ErrPacked, err)
	case len(raw) > MaxUnpacked:
		return nil, nil, fmt.Errorf("%w: it decompresses to more than %d bytes", ErrPacked, MaxUnpacked)
	}
	t, err = Parse(raw, digest)
	return raw, t, err
}

// Parse reads an unpacked tokenizer with that digest. Errors wrap ErrPacked.
func Parse(raw []byte, digest [32]byte) (*Tokenizer, error) {
	if sha256.Sum256(raw) != digest {
		return nil, fmt.Errorf("%w: its checksum is wrong", ErrPacked)
	}
	f, err := gguf.NewReader(bytes.NewReader(raw), int64(len(raw)))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPacked, err)
	}
	if pieces, _ := f.Strings("tokenizer.ggml.tokens"); len(pieces) > maxTokens {
		return nil, fmt.Errorf("%w: %d tokens, %d are allowed", ErrPacked, len(pieces), maxTokens)
	}
	t, err := FromGGUF(f)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPacked, err)
	}
	return t, nil
}

// used is the size of the vocabulary without the rows at its end that only pad the model's matrices:
// models of one family pad to different sizes (Qwen 2.5 0.5B to 151,936, 7B to 152,064).
func (t *Tokenizer) used() int {
	n := len(t.pieces)
	for n > 1 && (t.kinds[n-1] == kindUnused || t.kinds[n-1] == kindUser && t.pieces[n-1] == "[PAD"+strconv.Itoa(n-1)+"]") {
		n--
	}
	return n
}

// Fits says why a draft cannot propose for a target; nil when it can: each id that both really have
// stands for the same piece, and the draft has nearly all of the target's.
func Fits(target, draft *Tokenizer) error {
	a, b := target.used(), draft.used()
	if target.model != draft.model {
		return fmt.Errorf("the target's tokens are of kind %q, the draft's of kind %q", target.model, draft.model)
	}
	for i := range min(a, b) {
		if target.pieces[i] != draft.pieces[i] {
			return fmt.Errorf("token %d is %q for the target and %q for the draft", i, target.pieces[i], draft.pieces[i])
		}
	}
	if missing := a - b; missing > a/100 {
		return fmt.Errorf("the target has %d tokens, the draft %d", a, b)
	}
	return nil
}
