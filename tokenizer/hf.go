package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// FromHF reads a byte-level BPE tokenizer from a Hugging Face folder with vocab.json, merges.txt and
// tokenizer_config.json. pre names the pre-tokenizer, as tokenizer.ggml.pre would.
func FromHF(dir fs.FS, pre string) (*Tokenizer, error) {
	var vocab map[string]Token
	if err := readJSON(dir, "vocab.json", &vocab); err != nil {
		return nil, err
	}
	var config struct {
		Added map[Token]struct {
			Content string `json:"content"`
			Special bool   `json:"special"`
		} `json:"added_tokens_decoder"`
		EOS      any `json:"eos_token"`
		Template any `json:"chat_template"`
	}
	if err := readJSON(dir, "tokenizer_config.json", &config); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	merges, err := fs.ReadFile(dir, "merges.txt")
	if err != nil {
		return nil, err
	}
	size := 0
	for _, id := range vocab {
		size = max(size, int(id)+1)
	}
	for id := range config.Added {
		size = max(size, int(id)+1)
	}
	if size > len(vocab)+len(config.Added)+1<<16 {
		return nil, fmt.Errorf("%w: ids up to %d for %d tokens", ErrVocabulary, size, len(vocab))
	}
	t := &Tokenizer{model: "gpt2", pieces: make([]string, size), kinds: slices.Repeat([]int8{kindNormal}, size), bos: -1, eos: -1}
	for p, id := range vocab {
		if id < 0 {
			return nil, fmt.Errorf("%w: token %q has id %d", ErrVocabulary, p, id)
		}
		t.pieces[id] = p
	}
	for id, a := range config.Added {
		if id < 0 {
			return nil, fmt.Errorf("%w: token %q has id %d", ErrVocabulary, a.Content, id)
		}
		t.pieces[id], t.kinds[id] = a.Content, kindUser
		if a.Special {
			t.kinds[id] = kindControl
		}
	}
	t.template, _ = config.Template.(string)
	t.correct()
	t.index()
	if s, ok := config.EOS.(string); ok {
		if id, ok := t.id[s]; ok {
			t.eos = id
		}
	}
	lines := slices.DeleteFunc(strings.Split(string(merges), "\n"), func(l string) bool {
		return l == "" || strings.HasPrefix(l, "#version")
	})
	if err := t.bpe(lines, pre); err != nil {
		return nil, err
	}
	t.ends()
	return t, nil
}

func readJSON(dir fs.FS, name string, v any) error {
	b, err := fs.ReadFile(dir, name)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrVocabulary, name, err)
	}
	return nil
}
