package httpengine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/gguf"
	"github.com/outrider-llm/outrider/models"
	"github.com/outrider-llm/outrider/tokenizer"
)

// options of the engines. tokenizer (needed) is a GGUF file with the model's vocabulary (or an embedded model); its
// weights are not read. The others: model (which one of the server's), top (tokens shown per row, 20), context (less than the
// server's), sequences (256), kv_tokens (tokens remembered in all), parallel (requests under way, 64), timeout (of a
// request, 60s), retries (2), sampling (strict, greedy, cut), doubt (mark, refuse), check (true: compare
// tokenizers at load), api_key_file.
type options struct {
	model, tokenizer, keyFile   string
	sampling, doubt             string
	top, context, sequences     int
	kvTokens, parallel, retries int
	timeout                     time.Duration
	check                       bool
}

// KeyVariable is where the plugin's environment may hold the server's key.
const KeyVariable = "OUTRIDER_ENGINE_KEY"

func parse(in map[string]string) (options, error) {
	o := options{sampling: "strict", doubt: "mark", top: 20, sequences: 256, parallel: 64, retries: 2, timeout: time.Minute, check: true}
	text := map[string]*string{"model": &o.model, "tokenizer": &o.tokenizer, "api_key_file": &o.keyFile, "sampling": &o.sampling, "doubt": &o.doubt}
	numbers := map[string]struct {
		to          *int
		least, most int
	}{"top": {&o.top, 2, 1 << 16}, "context": {&o.context, 2, 1 << 24}, "sequences": {&o.sequences, 1, 1 << 20},
		"kv_tokens": {&o.kvTokens, 1, math.MaxInt32}, "parallel": {&o.parallel, 1, 4096}, "retries": {&o.retries, 0, 10}}
	for k, v := range in {
		var err error
		if to := text[k]; to != nil {
			*to = v
		} else if n, ok := numbers[k]; ok {
			if *n.to, err = strconv.Atoi(v); err != nil || *n.to < n.least || *n.to > n.most {
				err = fmt.Errorf("must be a whole number between %d and %d", n.least, n.most)
			}
		} else if k == "timeout" {
			if o.timeout, err = time.ParseDuration(v); err != nil || o.timeout <= 0 {
				err = fmt.Errorf("must be a duration such as 60s")
			}
		} else if k == "check" {
			o.check, err = strconv.ParseBool(v)
		} else {
			return o, fmt.Errorf("there is no option %q, only tokenizer, model, top, context, sequences, kv_tokens, parallel, timeout, retries, sampling, doubt, check, api_key_file", k)
		}
		if err != nil {
			return o, fmt.Errorf("option %s is %q: %w", k, v, err)
		}
	}
	switch {
	case !slices.Contains([]string{"strict", "greedy", "cut"}, o.sampling):
		return o, fmt.Errorf("option sampling is %q, must be strict, greedy or cut", o.sampling)
	case !slices.Contains([]string{"mark", "refuse"}, o.doubt):
		return o, fmt.Errorf("option doubt is %q, must be mark or refuse", o.doubt)
	case o.tokenizer == "":
		return o, errors.New("the tokenizer is missing: name a GGUF file of the model (its vocabulary is enough) as tokenizer")
	}
	return o, nil
}

// Loader returns a backend.Loader whose model is the server's address, such as http://127.0.0.1:8000. Errors
// wrap backend.ErrLoad, or ErrUnavailable while the server does not answer: then it may be tried again.
func Loader(d Dialect) backend.Loader {
	return func(ctx context.Context, model string, opts map[string]string, _ func(float32)) (backend.Model, error) {
		e, err := open(ctx, d, model, opts)
		switch {
		case err == nil:
			return e, nil
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case errors.Is(err, backend.ErrUnavailable):
			return nil, err
		}
		return nil, fmt.Errorf("%w: %w", backend.ErrLoad, err)
	}
}

func open(ctx context.Context, d Dialect, address string, opts map[string]string) (*Engine, error) {
	o, err := parse(opts)
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(address)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.User != nil || u.RawQuery != "" {
		return nil, fmt.Errorf("the model is %q, must be the server's address such as http://127.0.0.1:8000", address)
	}
	key := os.Getenv(KeyVariable)
	if o.keyFile != "" {
		data, err := os.ReadFile(o.keyFile)
		if err != nil {
			return nil, fmt.Errorf("option api_key_file: %w", err)
		}
		key = strings.TrimSpace(string(data))
	}
	tok, err := readTokenizer(o.tokenizer)
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: o.parallel, IdleConnTimeout: time.Minute, ForceAttemptHTTP2: true}
	c := &Client{base: strings.TrimRight(address, "/"), key: key, http: &http.Client{Transport: transport}, timeout: o.timeout,
		retries: o.retries, slots: make(chan struct{}, o.parallel)}
	e := &Engine{d: d, c: c, o: o, seqs: map[backend.Sequence]*sequence{}}
	if err := e.describe(ctx, tok); err != nil {
		_ = e.Close() // never fails
		return nil, err
	}
	e.dense.New = func() any {
		l := make([]float32, e.info.VocabularySize)
		for i := range l {
			l[i] = float32(math.Inf(-1))
		}
		return &l
	}
	return e, nil
}

func readTokenizer(name string) (*tokenizer.Tokenizer, error) {
	var f *gguf.File
	var err error
	if data, ok := models.Embedded(name); ok {
		f, err = gguf.NewReader(bytes.NewReader(data), int64(len(data)))
	} else {
		f, err = gguf.Open(name)
	}
	if err != nil {
		return nil, fmt.Errorf("option tokenizer: %w", err)
	}
	defer func() { _ = f.Close() }() // it was only read
	t, err := tokenizer.FromGGUF(f)
	if err != nil {
		return nil, fmt.Errorf("option tokenizer: %s: %w", name, err)
	}
	return t, nil
}

// describe asks the server what it runs and fills in Info.
func (e *Engine) describe(ctx context.Context, tok *tokenizer.Tokenizer) error {
	id, err := e.d.Identify(ctx, e.c, e.o.model)
	if err != nil {
		return err
	}
	e.model = id.Model
	if e.o.check {
		if err := e.compare(ctx, tok); err != nil {
			return err
		}
	}
	length := id.Context
	if e.o.context > 0 && (length <= 0 || e.o.context < length) {
		length = e.o.context
	}
	if length <= 0 {
		return errors.New("the server does not tell its context length: set option context")
	}
	rows := e.o.kvTokens
	if rows == 0 {
		rows = max(id.KVTokens, length, 4<<20) // tokens cost us 4 bytes each; the server looks after its own cache
	}
	e.info = backend.Info{Name: id.Model, Engine: e.d.Name(), Architecture: "remote", ContextLength: length, VocabularySize: tok.Size(),
		Vocabulary: tok.Fingerprint(), EndTokens: tok.EndTokens(), Numerics: e.d.Name() + " " + id.Version + " " + id.Model,
		ShapeDependent: true, Sequences: e.o.sequences, KVTokens: rows}
	return nil
}

// probes hold what tokenizers disagree about.
var probes = [...]string{"Hello, world! It's 12345.67 o'clock.", "def f(x):\n\treturn  x**2 # naïve café", "你好,世界。 Привет 🙂"}

// compare checks that the server cuts text as the tokenizer file does.
func (e *Engine) compare(ctx context.Context, tok *tokenizer.Tokenizer) error {
	for _, text := range probes {
		theirs, err := e.d.Tokenize(ctx, e.c, e.model, text)
		if errors.Is(err, ErrNoTokenizer) {
			fmt.Fprintf(os.Stderr, "[WARN] %s does not tokenize for us: that the tokenizer file is the model's is not checked\n", e.d.Name())
			return nil
		}
		if err != nil {
			return err
		}
		if ours := tok.Encode(text, tokenizer.Options{}); !slices.Equal(ours, theirs) {
			return fmt.Errorf("the tokenizer file is not that of %s: %q is %v there and %v in the file: name the model's own GGUF file (or set option check=false)",
				e.model, text, theirs, ours)
		}
	}
	return nil
}
