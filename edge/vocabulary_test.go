package edge

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/outrider-llm/outrider/bench/link"
	"github.com/outrider-llm/outrider/cloud"
	"github.com/outrider-llm/outrider/gguf"
	"github.com/outrider-llm/outrider/models"
	outriderv1 "github.com/outrider-llm/outrider/proto/outrider/v1"
	"github.com/outrider-llm/outrider/speculative"
	"github.com/outrider-llm/outrider/tokenizer"
)

func demoPacked(t *testing.T) *tokenizer.Packed {
	t.Helper()
	data, _ := models.Embedded(models.TargetName)
	f, err := gguf.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	p, err := tokenizer.Pack(f)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// learning makes the rig's target one that gives its tokenizer, and the edge one that has none.
func learning(p *tokenizer.Packed, dir string, draft bool) option {
	return func(r *rig) {
		tok, err := demoUnpacked(p)
		if err != nil {
			r.t.Fatal(err)
		}
		r.target.info.Vocabulary, r.target.info.VocabularySize = p.Vocabulary, tok.Size()
		r.cloud.config.Targets = []cloud.Target{{Name: "big", Model: r.target, Bytes: tok.Bytes, Tokenizer: p}}
		r.config.Vocabulary, r.config.Learn, r.config.Cache = "", true, dir
		if !draft {
			r.draft = nil
			return
		}
		r.draft.info.Vocabulary, r.draft.info.VocabularySize = p.Vocabulary, tok.Size()
	}
}

func demoUnpacked(p *tokenizer.Packed) (*tokenizer.Tokenizer, error) {
	_, tok, err := tokenizer.Unpack(p.Data, p.Digest)
	return tok, err
}

var hello = Request{Prompt: "Once upon a time", MaxTokens: 20, IgnoreEnd: true, Params: speculative.Params{Seed: 3}}

// checkText compares an answer with what the target alone says.
func (r *rig) checkText(p *tokenizer.Packed, c *collect) {
	r.t.Helper()
	tok, err := demoUnpacked(p)
	if err != nil {
		r.t.Fatal(err)
	}
	in := tok.Encode(hello.Prompt, tokenizer.Options{AddBOS: tok.AddBOS(), ParseSpecial: true})
	s, want := tok.NewStream(false), ""
	for _, t := range r.target.oracle(hello.Params, in, len(in)+hello.MaxTokens) {
		want += s.Push(t)
	}
	if want += s.Flush(); c.text != want || want == "" {
		r.t.Errorf("answer %q, the target alone says %q", c.text, want)
	}
}

func TestEdgeLearnsTheTokenizer(t *testing.T) {
	p, dir := demoPacked(t), t.TempDir()
	for _, draft := range []bool{false, true} {
		r := newRig(t, link.Config{}, learning(p, dir, draft))
		c, _ := r.generate(hello, nil)
		r.checkText(p, c)
		_, down := r.link.Bytes()
		if fetched := down > int64(len(p.Data)); fetched == draft { // the second edge finds it in the cache
			t.Errorf("draft %v: %d bytes came down, the tokenizer has %d", draft, down, len(p.Data))
		}
		_ = r.edge.Close()
	}
	files, _ := os.ReadDir(dir)
	if len(files) != 1 {
		t.Errorf("%d files in the cache", len(files))
	}
}

func TestBrokenCacheIsFetchedAgain(t *testing.T) {
	p, dir := demoPacked(t), filepath.Join(t.TempDir(), "new", "folder")
	c := &cache{dir: dir}
	for _, broken := range []string{"", "GGUF", strings.Repeat("x", 100_000)} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(c.path(p.Digest), []byte(broken), 0o600); err != nil {
			t.Fatal(err)
		}
		r := newRig(t, link.Config{}, learning(p, dir, false))
		out, _ := r.generate(hello, nil)
		r.checkText(p, out)
		if raw, err := os.ReadFile(c.path(p.Digest)); err != nil || len(raw) != p.Size {
			t.Errorf("the cache was not mended: %d bytes, %v", len(raw), err)
		}
		_ = r.edge.Close()
	}
}

func TestCacheThatCannotBeWritten(t *testing.T) {
	p, dir := demoPacked(t), t.TempDir()
	blocked := filepath.Join(dir, "file")
	if err := os.WriteFile(blocked, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r := newRig(t, link.Config{}, learning(p, filepath.Join(blocked, "below"), false))
	c, _ := r.generate(hello, nil)
	r.checkText(p, c)
}

func TestCacheIsBounded(t *testing.T) {
	c := &cache{dir: t.TempDir()}
	for i := range cached + 5 {
		digest := [32]byte{byte(i)}
		c.save(digest, []byte{byte(i)})
		at := time.Now().Add(time.Duration(i-100) * time.Minute)
		if err := os.Chtimes(c.path(digest), at, at); err != nil {
			t.Fatal(err)
		}
	}
	c.prune()
	files, _ := os.ReadDir(c.dir)
	if _, err := os.Stat(c.path([32]byte{4})); len(files) != cached || err == nil {
		t.Errorf("%d files are kept", len(files))
	}
}

// The cloud is away when the edge starts: without a draft the request says so, later it works.
func TestEdgeStartsBeforeTheCloud(t *testing.T) {
	p := demoPacked(t)
	r := newRig(t, link.Config{}, learning(p, t.TempDir(), false), func(r *rig) { r.config.FallbackAfter = 200 * time.Millisecond })
	_ = r.edge.Close()
	r.cloud.kill()
	var err error
	if r.edge, err = New(func() Config { c := r.config; c.Draft = nil; return c }()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.edge.Close() })
	_, err = r.edge.Generate(t.Context(), hello, func(Event) error { return nil })
	wantError(t, err, ErrNoCloud)
	wait := hello
	wait.Fallback = FallbackWait
	time.AfterFunc(100*time.Millisecond, r.cloud.start)
	c, _ := r.generate(wait, nil)
	r.checkText(p, c)
}

// The same with a draft: its tokenizer begins, and the cloud, once there, agrees.
func TestEdgeStartsWithTheDraftsTokenizer(t *testing.T) {
	p := demoPacked(t)
	r := newRig(t, link.Config{}, learning(p, t.TempDir(), true), func(r *rig) { r.config.Tokenizer = demoTokenizer(r.t) })
	_ = r.edge.Close()
	r.cloud.kill()
	c := r.config
	c.Draft, c.FallbackAfter = r.draft, 200*time.Millisecond
	var err error
	if r.edge, err = New(c); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.edge.Close() })
	alone := hello
	alone.Fallback = FallbackDraft
	if _, s := r.generate(alone, nil); s.Unverified != hello.MaxTokens {
		t.Errorf("%d tokens are unverified", s.Unverified)
	}
	wait := hello
	wait.Fallback = FallbackWait
	time.AfterFunc(100*time.Millisecond, r.cloud.start)
	out, _ := r.generate(wait, nil)
	r.checkText(p, out)
}

// Another target takes the name: the request that meets it fails, the next one has learnt.
func TestTargetIsReplaced(t *testing.T) {
	p := demoPacked(t)
	r := newRig(t, link.Config{}, learning(p, t.TempDir(), false))
	c, _ := r.generate(hello, nil)
	r.checkText(p, c)
	r.cloud.kill()
	q := otherPacked(t)
	learning(q, "", false)(r)
	r.cloud.start()
	_, err := r.edge.Generate(t.Context(), hello, func(Event) error { return nil })
	if err != nil { // unless the probe told in time
		wantError(t, err, ErrVocabulary)
	}
	c, _ = r.generate(hello, nil)
	r.checkText(q, c)
}

// otherPacked is the demo vocabulary with two tokens swapped.
func otherPacked(t *testing.T) *tokenizer.Packed {
	t.Helper()
	p := demoPacked(t)
	raw, _, err := tokenizer.Unpack(p.Data, p.Digest)
	if err != nil {
		t.Fatal(err)
	}
	f, err := gguf.NewReader(bytes.NewReader(raw), int64(len(raw)))
	if err != nil {
		t.Fatal(err)
	}
	var kvs []gguf.KV
	for _, k := range f.Keys() {
		if s, ok := f.Strings(k); ok {
			s = append([]string{}, s...)
			if k == "tokenizer.ggml.tokens" {
				n := len(s)
				s[n-1], s[n-2] = s[n-2], s[n-1]
			}
			kvs = append(kvs, gguf.KV{Key: k, Value: s})
		} else if s, ok := f.String(k); ok {
			kvs = append(kvs, gguf.KV{Key: k, Value: s})
		} else if b, ok := f.Bool(k); ok {
			kvs = append(kvs, gguf.KV{Key: k, Value: b})
		} else if u, ok := f.Uint(k); ok {
			kvs = append(kvs, gguf.KV{Key: k, Value: u})
		}
	}
	var b bytes.Buffer
	if err := gguf.Write(&b, kvs, nil); err != nil {
		t.Fatal(err)
	}
	if f, err = gguf.NewReader(bytes.NewReader(b.Bytes()), int64(b.Len())); err != nil {
		t.Fatal(err)
	}
	q, err := tokenizer.Pack(f)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func TestDraftWithOtherTokens(t *testing.T) {
	p := demoPacked(t)
	r := newRig(t, link.Config{}, learning(p, t.TempDir(), true), func(r *rig) { r.draft.info.Vocabulary = "other" })
	_, err := r.edge.Generate(t.Context(), hello, func(Event) error { return nil })
	wantError(t, err, ErrVocabulary)
	if !strings.Contains(err.Error(), "--draft none") {
		t.Errorf("no advice: %v", err)
	}
	alone := hello
	alone.NoDraft = true
	c, _ := r.generate(alone, nil)
	r.checkText(p, c)
}

// A draft with other tokens drafts text; the answer is the target's.
func TestDraftWithOtherTokensDraftsText(t *testing.T) {
	p, q := demoPacked(t), otherPacked(t)
	other, err := demoUnpacked(q)
	if err != nil {
		t.Fatal(err)
	}
	for _, off := range []bool{false, true} {
		r := newRig(t, link.Config{}, learning(p, t.TempDir(), true), func(r *rig) {
			r.draft.info.Vocabulary, r.config.Tokenizer, r.config.NoTranslate = q.Vocabulary, other, off
			r.target.step = 20 * time.Millisecond // else it may have said all before the draft's first token
		})
		if off {
			_, err := r.edge.Generate(t.Context(), hello, func(Event) error { return nil })
			wantError(t, err, ErrVocabulary)
			continue
		}
		c, s := r.generate(hello, nil)
		r.checkText(p, c)
		if st, err := r.edge.Status(t.Context()); err != nil || s.Drafted == 0 || !strings.Contains(st.Note, "drafts as text") {
			t.Errorf("%d tokens were drafted, %q, %v", s.Drafted, st.Note, err)
		}
		r.empty()
	}
}

// A draft whose matrices have more rows than the target's vocabulary never proposes those.
func TestDraftWithMoreRows(t *testing.T) {
	p := demoPacked(t)
	r := newRig(t, link.Config{}, learning(p, t.TempDir(), true), func(r *rig) {
		r.draft.info.VocabularySize *= 2
		r.target.step = 20 * time.Millisecond // else it may have said all before the draft's first token
	})
	c, s := r.generate(hello, nil)
	r.checkText(p, c)
	if s.Drafted == 0 {
		t.Error("nothing was drafted")
	}
}

// liar is a cloud that describes its target falsely.
type liar struct {
	outriderv1.UnimplementedDecodeServiceServer
	m      *outriderv1.DescribeModelResponse
	chunks [][]byte
	forever,
	hang bool
	asked atomic.Int32
}

func (l *liar) DescribeModel(context.Context, *outriderv1.DescribeModelRequest) (*outriderv1.DescribeModelResponse, error) {
	if l.asked.Add(1); l.m == nil {
		return nil, status.Error(codes.Unimplemented, "unknown method")
	}
	return l.m, nil
}

func (l *liar) GetTokenizer(_ *outriderv1.GetTokenizerRequest, s grpc.ServerStreamingServer[outriderv1.GetTokenizerResponse]) error {
	for i := 0; i < len(l.chunks) || l.forever; i++ {
		if err := s.Send(&outriderv1.GetTokenizerResponse{Data: l.chunks[i%len(l.chunks)]}); err != nil {
			return err
		}
	}
	if l.hang {
		<-s.Context().Done()
	}
	return nil
}

func TestCloudThatLiesAboutItsTokenizer(t *testing.T) {
	p := demoPacked(t)
	honest := func() *outriderv1.DescribeModelResponse {
		return &outriderv1.DescribeModelResponse{VocabularySize: 512, TokenizerBytes: uint32(len(p.Data)), TokenizerSize: uint32(p.Size),
			Target: &outriderv1.TargetInfo{Name: "big", Vocabulary: p.Vocabulary, ContextLength: 512, Tokenizer: p.Digest[:]}}
	}
	with := func(change func(*outriderv1.DescribeModelResponse)) *outriderv1.DescribeModelResponse {
		m := honest()
		change(m)
		return m
	}
	whole := [][]byte{p.Data}
	flipped := bytes.Clone(p.Data)
	flipped[len(flipped)/2] ^= 4
	for name, c := range map[string]struct {
		l  *liar
		is error
	}{
		"older cloud":       {&liar{}, ErrRefused},
		"wrong fingerprint": {&liar{m: with(func(m *outriderv1.DescribeModelResponse) { m.Target.Vocabulary = "x" }), chunks: whole}, ErrRefused},
		"short digest":      {&liar{m: with(func(m *outriderv1.DescribeModelResponse) { m.Target.Tokenizer = []byte("x") }), chunks: whole}, ErrRefused},
		"long digest":       {&liar{m: with(func(m *outriderv1.DescribeModelResponse) { m.Target.Tokenizer = make([]byte, 1<<20) }), chunks: whole}, ErrRefused},
		"other digest":      {&liar{m: with(func(m *outriderv1.DescribeModelResponse) { m.Target.Tokenizer = make([]byte, 32) }), chunks: whole}, ErrRefused},
		"huge":              {&liar{m: with(func(m *outriderv1.DescribeModelResponse) { m.TokenizerBytes = 1 << 31 }), chunks: whole}, ErrRefused},
		"many ends":         {&liar{m: with(func(m *outriderv1.DescribeModelResponse) { m.EndTokens = make([]uint32, 1<<16) }), chunks: whole}, ErrRefused},
		"endless":           {&liar{m: honest(), chunks: [][]byte{make([]byte, 4096)}, forever: true}, ErrRefused},
		"empty chunks":      {&liar{m: honest(), chunks: [][]byte{{}}, forever: true}, ErrRefused},
		"corrupt":           {&liar{m: honest(), chunks: [][]byte{flipped}}, ErrRefused},
		"short":             {&liar{m: honest(), chunks: [][]byte{p.Data[:100]}}, ErrNoCloud},
		"silent":            {&liar{m: honest(), chunks: [][]byte{p.Data[:100]}, hang: true}, ErrNoCloud},
		"nothing":           {&liar{m: &outriderv1.DescribeModelResponse{}}, ErrRequest}, // no tokenizer: the prompt must come in tokens
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			lis, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			gs := grpc.NewServer()
			outriderv1.RegisterDecodeServiceServer(gs, c.l)
			done := make(chan struct{})
			go func() { defer close(done); _ = gs.Serve(lis) }()
			t.Cleanup(func() { gs.Stop(); <-done })
			dir := t.TempDir()
			patience := 10 * time.Second // lies are seen at once, however busy the machine
			if errors.Is(c.is, ErrNoCloud) {
				patience = 300 * time.Millisecond
			}
			e, err := New(Config{Cloud: lis.Addr().String(), Learn: true, Cache: dir, FallbackAfter: patience, LinkTimeout: patience})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = e.Close() }()
			_, err = e.Generate(t.Context(), hello, func(Event) error { return nil })
			wantError(t, err, c.is)
			if strings.Contains(err.Error(), "\n") || len(err.Error()) > 400 {
				t.Errorf("not a line for people: %v", err)
			}
			if files, _ := os.ReadDir(dir); len(files) > 0 {
				t.Errorf("the cache keeps what is broken")
			}
		})
	}
}
