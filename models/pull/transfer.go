package pull

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"net/http"
	"os"
	"path"
	"strings"

	"github.com/outrider-llm/outrider/gguf"
)

// transfer is the state of one file's download.
type transfer struct {
	p     *puller
	f     file
	path  string // of the part file
	out   *os.File
	hash  hash.Hash // of the first have bytes
	have  int64
	total int64 // -1: unknown
	state state
	buf   []byte
}

// state says which file the part belongs to, so that two versions are never mixed.
type state struct {
	URL          string `json:"url"`
	SHA256       string `json:"sha256,omitempty"`
	ETag         string `json:"etag,omitempty"`
	LastModified string `json:"last_modified,omitempty"`
}

// validator for If-Range: a strong ETag or a date; "" when the server gave none.
func (s state) validator() string {
	if s.ETag != "" && !strings.HasPrefix(s.ETag, "W/") {
		return s.ETag
	}
	return s.LastModified
}

// open opens the part file, keeping what belongs to f.
func (p *puller) open(ctx context.Context, f file, dst string) (*transfer, error) {
	t := &transfer{p: p, f: f, path: dst + partSuffix, hash: sha256.New(), total: f.size, buf: make([]byte, 256<<10)}
	out, err := os.OpenFile(t.path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("the models' folder: %w", err)
	}
	t.out = out
	if err := t.resume(ctx); err != nil {
		_ = out.Close() // err says what matters
		return nil, err
	}
	return t, nil
}

func (t *transfer) resume(ctx context.Context) error {
	st, err := t.out.Stat()
	if err != nil {
		return err
	}
	size := st.Size()
	if size == 0 {
		return nil
	}
	b, err := os.ReadFile(t.path + stateSuffix)
	if err == nil {
		err = json.Unmarshal(b, &t.state)
	}
	same := err == nil && strings.EqualFold(t.state.SHA256, t.f.sha256) &&
		(t.f.sha256 != "" || (t.state.URL == address(t.f.url) && t.state.validator() != ""))
	if !same || (t.total >= 0 && size > t.total) {
		return t.reset()
	}
	if err := t.p.hashFile(ctx, t.f, t.out, size, t.hash); err != nil {
		return err
	}
	t.have = size
	t.p.Say("going on with %s after %s", path.Base(t.f.name), Bytes(size))
	return nil
}

// address is a URL without its query, which may hold a secret and changes with each signature.
func address(s string) string {
	s, _, _ = strings.Cut(s, "?")
	return s
}

// reset begins at the first byte.
func (t *transfer) reset() error {
	t.hash.Reset()
	t.have, t.state = 0, state{}
	t.total = t.f.size
	if _, err := t.out.Seek(0, io.SeekStart); err != nil {
		return err
	}
	return t.out.Truncate(0)
}

// remember notes what is being fetched, once per version.
func (t *transfer) remember(resp *http.Response) error {
	now := state{URL: address(t.f.url), SHA256: t.f.sha256, ETag: resp.Header.Get("ETag"), LastModified: resp.Header.Get("Last-Modified")}
	if now == t.state {
		return nil
	}
	t.state = now
	b, err := json.Marshal(now)
	if err != nil {
		return err
	}
	return os.WriteFile(t.path+stateSuffix, b, 0o600)
}

// write appends to the part.
func (t *transfer) write(b []byte) error {
	if t.total >= 0 && t.have+int64(len(b)) > t.total {
		return cutError{fmt.Errorf("more bytes came than were announced")}
	}
	if t.have == 0 && len(b) >= 4 && string(b[:4]) != "GGUF" {
		return fmt.Errorf("%w: %s begins with %q: give the address of the file itself", ErrNotGGUF, t.f.name, b[:4])
	}
	n, err := t.out.Write(b)
	t.hash.Write(b[:n])
	t.have += int64(n)
	t.p.result.Fetched += int64(n)
	if err != nil {
		return fmt.Errorf("%w: free some space: the same command goes on from there", err)
	}
	t.report()
	return nil
}

func (t *transfer) report() {
	t.p.Progress(Progress{File: path.Base(t.f.name), Part: t.f.part, Parts: t.f.parts, Done: t.have, Total: t.total})
}

// finish checks the part and gives it its name.
func (t *transfer) finish(dst string) error {
	if sum := hex.EncodeToString(t.hash.Sum(nil)); t.f.sha256 != "" && !strings.EqualFold(sum, t.f.sha256) {
		if err := t.reset(); err != nil {
			return err
		}
		return fmt.Errorf("%w: %s has %s, it should be %s: nothing was kept, try again", ErrChecksum, t.f.name, sum, t.f.sha256)
	}
	if err := t.out.Sync(); err != nil {
		return err
	}
	if t.f.sha256 == "" {
		g, err := gguf.Open(t.path)
		if err != nil {
			_ = t.reset() // err says what matters
			return fmt.Errorf("%w: %s: %w: nothing was kept", ErrNotGGUF, t.f.name, err)
		}
		_ = g.Close() // it was only read
	}
	if err := t.out.Close(); err != nil {
		return err
	}
	if err := os.Rename(t.path, dst); err != nil {
		return err
	}
	_ = os.Remove(t.path + stateSuffix) // a stray one does no harm
	return nil
}

// sum is the SHA-256 of a file.
func (p *puller) sum(ctx context.Context, f file, name string, size int64) (string, error) {
	in, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer func() { _ = in.Close() }() // it was only read
	h := sha256.New()
	if err := p.hashFile(ctx, f, in, size, h); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// hashFile hashes the rest of an open file, reporting progress.
func (p *puller) hashFile(ctx context.Context, f file, in io.Reader, size int64, h hash.Hash) error {
	buf := make([]byte, 1<<20)
	var n int64
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		k, err := in.Read(buf)
		h.Write(buf[:k])
		n += int64(k)
		p.Progress(Progress{File: path.Base(f.name), Part: f.part, Parts: f.parts, Done: n, Total: size, Checking: true})
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
