package edge

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	outriderv1 "github.com/outrider-llm/outrider/proto/outrider/v1"
	"github.com/outrider-llm/outrider/tokenizer"
)

// describe asks the cloud for what must be known of a target: within bounds the question, ctx and the
// link's silence the transfer of the tokenizer. ready: wait for a connection.
func (l *uplink) describe(ctx, within context.Context, model string, c *cache, ready bool) (*vocabulary, error) {
	conn := l.acquire()
	defer l.release()
	client := outriderv1.NewDecodeServiceClient(conn)
	m, err := client.DescribeModel(within, &outriderv1.DescribeModelRequest{Model: model}, grpc.WaitForReady(ready))
	if err != nil {
		return nil, err
	}
	l.hear()
	t := m.GetTarget()
	v := &vocabulary{print: t.GetVocabulary(), digest: string(t.GetTokenizer()), size: int(min(m.GetVocabularySize(), math.MaxInt32))}
	for _, k := range m.GetEndTokens() {
		if int64(k) < int64(v.size) {
			v.ends = append(v.ends, Token(k))
		}
	}
	if len(m.GetEndTokens()) > maxEnds || len(v.print) > maxPrint {
		return nil, fmt.Errorf("%w: its description is absurd", tokenizer.ErrPacked)
	}
	if v.digest == "" {
		if own := l.c.Tokenizer; own != nil && own.Fingerprint() == v.print {
			v.tok = own
		}
	} else if v.tok, err = l.tokenizer(ctx, client, model, m, c); err != nil {
		return nil, err
	}
	if v.tok != nil {
		v.ends = append(v.ends, v.tok.EndTokens()...)
		slices.Sort(v.ends)
		v.ends, v.size = slices.Compact(v.ends), max(v.size, v.tok.Size())
	}
	l.learn(model, t)
	return v, nil
}

// Bounds on a description.
const (
	maxEnds  = 256
	maxPrint = 256
)

// tokenizer takes a tokenizer from the cache, or from the cloud.
func (l *uplink) tokenizer(ctx context.Context, client outriderv1.DecodeServiceClient, model string,
	m *outriderv1.DescribeModelResponse, c *cache) (*tokenizer.Tokenizer, error) {
	var digest [32]byte
	if copy(digest[:], m.GetTarget().GetTokenizer()) != len(digest) || len(m.GetTarget().GetTokenizer()) != len(digest) {
		return nil, fmt.Errorf("%w: a digest of %d bytes", tokenizer.ErrPacked, len(m.GetTarget().GetTokenizer()))
	}
	if t := c.load(digest); t != nil && t.Fingerprint() == m.GetTarget().GetVocabulary() {
		return t, nil
	}
	if m.GetTokenizerBytes() > tokenizer.MaxPacked || m.GetTokenizerSize() > tokenizer.MaxUnpacked {
		return nil, fmt.Errorf("%w: %d bytes, %d are allowed", tokenizer.ErrPacked, max(m.GetTokenizerBytes(), m.GetTokenizerSize()), tokenizer.MaxPacked)
	}
	packed, err := l.fetch(ctx, client, &outriderv1.GetTokenizerRequest{Model: model, Tokenizer: digest[:]}, int(m.GetTokenizerBytes()))
	if err != nil {
		return nil, err
	}
	raw, t, err := tokenizer.Unpack(packed, digest)
	if err != nil {
		return nil, err
	}
	if got := t.Fingerprint(); got != m.GetTarget().GetVocabulary() {
		return nil, fmt.Errorf("%w: its fingerprint is %s, not %.64q", tokenizer.ErrPacked, got, m.GetTarget().GetVocabulary())
	}
	c.save(digest, raw)
	return t, nil
}

// fetch reads a tokenizer's chunks. A cloud that stays silent, or that trickles, is given up.
func (l *uplink) fetch(ctx context.Context, client outriderv1.DecodeServiceClient, r *outriderv1.GetTokenizerRequest, size int) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second+time.Duration(size)*time.Second/slowFetch)
	defer cancel()
	silence := time.AfterFunc(2*l.c.LinkTimeout, cancel)
	defer silence.Stop()
	stream, err := client.GetTokenizer(ctx, r)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	for {
		m, err := stream.Recv()
		switch {
		case errors.Is(err, io.EOF) && b.Len() < size:
			return nil, status.Errorf(codes.Unavailable, "the tokenizer ended after %d of %d bytes", b.Len(), size)
		case errors.Is(err, io.EOF):
			return b.Bytes(), nil
		case err != nil:
			return nil, err
		case len(m.GetData()) == 0 || b.Len()+len(m.GetData()) > size:
			return nil, fmt.Errorf("%w: more than the %d bytes announced", tokenizer.ErrPacked, size)
		}
		l.hear()
		silence.Reset(2 * l.c.LinkTimeout)
		b.Write(m.GetData())
	}
}

// slowFetch is the slowest rate, bytes per second, at which a tokenizer may come.
const slowFetch = 8 << 10

// cache keeps tokenizers in a folder, each under its digest. A nil cache keeps nothing. Whatever is
// wrong with the folder only costs fetching again.
type cache struct {
	dir    string
	logger *slog.Logger
}

// cached bounds how many tokenizers are kept; the longest unused goes first.
const cached = 16

const cachePrefix, cacheSuffix = "tokenizer-", ".gguf"

func (c *cache) path(digest [32]byte) string {
	return filepath.Join(c.dir, cachePrefix+hex.EncodeToString(digest[:])+cacheSuffix)
}

// load returns a tokenizer, nil when it is not there or is broken; then it is removed.
func (c *cache) load(digest [32]byte) *tokenizer.Tokenizer {
	if c == nil {
		return nil
	}
	path := c.path(digest)
	st, err := os.Stat(path)
	if err != nil {
		return nil
	}
	var raw []byte
	if st.Size() <= tokenizer.MaxUnpacked {
		raw, err = os.ReadFile(path)
	}
	var t *tokenizer.Tokenizer
	if err == nil {
		t, err = tokenizer.Parse(raw, digest)
	}
	if err != nil {
		c.logger.Warn("a cached tokenizer is broken, fetching it again", "file", path, "error", err)
		_ = os.Remove(path)
		return nil
	}
	_ = os.Chtimes(path, time.Time{}, time.Now()) // used now
	return t
}

// save writes a tokenizer, whole or not at all.
func (c *cache) save(digest [32]byte, raw []byte) {
	if c == nil {
		return
	}
	if err := c.write(c.path(digest), raw); err != nil {
		c.logger.Warn("cannot keep the target's tokenizer, it will be fetched again at the next start", "folder", c.dir, "error", err)
		return
	}
	c.prune()
}

func (c *cache) write(path string, raw []byte) error {
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(c.dir, cachePrefix+"*.part")
	if err != nil {
		return err
	}
	_, err = f.Write(raw)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}

// prune removes what has not been used for longest, and what a crash left half-written.
func (c *cache) prune() {
	entries, err := os.ReadDir(c.dir)
	if err != nil {
		return
	}
	type file struct {
		path string
		used time.Time
	}
	var files []file
	for _, e := range entries {
		i, err := e.Info()
		if err != nil || !strings.HasPrefix(e.Name(), cachePrefix) {
			continue
		}
		path := filepath.Join(c.dir, e.Name())
		switch {
		case strings.HasSuffix(path, cacheSuffix):
			files = append(files, file{path, i.ModTime()})
		case strings.HasSuffix(path, ".part") && time.Since(i.ModTime()) > time.Hour:
			_ = os.Remove(path)
		}
	}
	slices.SortFunc(files, func(a, b file) int { return b.used.Compare(a.used) })
	for _, f := range files[min(cached, len(files)):] {
		_ = os.Remove(f.path)
	}
}
