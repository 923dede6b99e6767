package pull

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofrs/flock"
	"github.com/hashicorp/go-retryablehttp"
)

// enough checks the disk before anything is fetched; sizes that are unknown are checked when the
// server has told them.
func (p *puller) enough(files []file) error {
	var need int64
	for _, f := range files {
		if f.size < 0 {
			continue
		}
		d := p.destination(f)
		if st, err := os.Stat(d); err == nil && st.Size() == f.size {
			continue
		}
		need += f.size
		if st, err := os.Stat(d + partSuffix); err == nil {
			need -= min(st.Size(), f.size)
		}
	}
	return p.space(need)
}

// spare is what a pull leaves free on the disk.
const spare = 64 << 20

func (p *puller) space(need int64) error {
	if need <= 0 {
		return nil
	}
	if err := os.MkdirAll(p.Dir, 0o755); err != nil {
		return fmt.Errorf("the models' folder: %w", err)
	}
	free, err := p.Free(p.Dir)
	if err != nil {
		p.Say("free disk space of %s is unknown: %v", p.Dir, err)
		return nil
	}
	if uint64(need)+spare > free {
		return fmt.Errorf("%w: %s is needed in %s and %s is free: free some, or choose another folder with --dir (models.dir)",
			ErrSpace, Bytes(need), p.Dir, Bytes(int64(min(free, 1<<62))))
	}
	return nil
}

func (p *puller) destination(f file) string { return filepath.Join(p.Dir, filepath.FromSlash(f.name)) }

const (
	partSuffix  = ".part" // what has come so far
	stateSuffix = ".json" // after partSuffix: of what
)

// fetch brings one file to its place, under a lock.
func (p *puller) fetch(ctx context.Context, f file) error {
	dst := p.destination(f)
	locks := filepath.Join(p.Dir, ".locks")
	for _, d := range []string{filepath.Dir(dst), locks} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return fmt.Errorf("the models' folder: %w", err)
		}
	}
	// The lock's file stays: removing it would let two processes hold two locks of one name.
	lock := flock.New(filepath.Join(locks, strings.ReplaceAll(f.name, "/", "__")+".lock"))
	got, err := lock.TryLock()
	if err != nil {
		return fmt.Errorf("the lock of %s: %w", f.name, err)
	}
	if !got {
		return fmt.Errorf("%w: %s: wait for it, or end it", ErrBusy, f.name)
	}
	defer func() { _ = lock.Close() }() // the system frees it in any case
	size, there, err := p.present(ctx, f, dst)
	if err != nil {
		return err
	}
	if !there {
		if size, err = p.download(ctx, f, dst); err != nil {
			return err
		}
	}
	p.result.Files = append(p.result.Files, dst)
	p.result.Bytes += size
	p.result.Checked = p.result.Checked && f.sha256 != ""
	return nil
}

// present says whether the file is there already, as far as can be told.
func (p *puller) present(ctx context.Context, f file, dst string) (size int64, ok bool, err error) {
	st, err := os.Stat(dst)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	if st.IsDir() {
		return 0, false, fmt.Errorf("%s is a folder: move it away", dst)
	}
	if f.size >= 0 && st.Size() != f.size {
		p.Say("%s has changed on the server, fetching it anew", path.Base(f.name))
		return 0, false, nil
	}
	if f.sha256 == "" {
		p.Say("%s is there already; delete it to fetch it anew", dst)
		return st.Size(), true, nil
	}
	sum, err := p.sum(ctx, f, dst, st.Size())
	if err != nil {
		return 0, false, err
	}
	if !strings.EqualFold(sum, f.sha256) {
		p.Say("%s has changed on the server or here, fetching it anew", path.Base(f.name))
		return 0, false, nil
	}
	p.Say("%s is there already, its checksum is right", dst)
	return st.Size(), true, nil
}

// errAgain: begin this file once more from its first byte.
var errAgain = errors.New("begin again")

// download fetches into the part file until it is whole and right, then gives it its name.
func (p *puller) download(ctx context.Context, f file, dst string) (int64, error) {
	t, err := p.open(ctx, f, dst)
	if err != nil {
		return 0, err
	}
	defer func() { _ = t.out.Close() }() // finish has closed it when that matters
	old := t.have > 0                    // part of it came in an earlier run
	for failures := 0; ; {
		before := t.have
		err := t.attempt(ctx)
		if err == nil {
			if err = t.finish(dst); errors.Is(err, ErrChecksum) && old {
				p.Say("what an earlier pull of %s left is damaged, fetching it anew", path.Base(f.name))
				old, err = false, errAgain
			}
		}
		switch {
		case err == nil:
			return t.have, nil
		case errors.Is(err, errAgain):
			if err := t.reset(); err != nil {
				return 0, err
			}
			if failures++; failures > p.Retries {
				return 0, fmt.Errorf("%w: %s changes while it is fetched", ErrNetwork, f.name)
			}
			continue
		case !errors.Is(err, errCut):
			return 0, err
		case t.have > before:
			failures = 0
		}
		if failures++; failures > p.Retries {
			return 0, fmt.Errorf("%w after %s of %s: %w: the same command goes on from there",
				ErrNetwork, Bytes(t.have), f.name, errors.Unwrap(err))
		}
		p.Say("the transfer of %s broke off after %s, going on", path.Base(f.name), Bytes(t.have))
		if err := sleep(ctx, retryablehttp.DefaultBackoff(p.MinWait, p.MaxWait, failures-1, nil)); err != nil {
			return 0, err
		}
	}
}

// cutError: the body ended early; the error that it wraps says why.
type cutError struct{ error }

func (e cutError) Unwrap() error        { return e.error }
func (e cutError) Is(target error) bool { return target == errCut }

var (
	errCut     = errors.New("cut off")
	errStalled = errors.New("no byte came for too long")
)

// attempt makes one request for what is missing and writes what comes.
func (t *transfer) attempt(ctx context.Context) error {
	if t.total >= 0 && t.have == t.total {
		return nil
	}
	if t.have > 0 && t.f.sha256 == "" && t.state.validator() == "" { // nothing says that it is still the same file
		if err := t.reset(); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	resp, err := t.p.client.get(ctx, t.f.url, t.header())
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }() // what it could tell is no news
	whole, err := t.accept(resp)
	if err != nil || whole {
		return err
	}
	stall := time.AfterFunc(t.p.Stall, func() { cancel(errStalled) })
	defer stall.Stop()
	for {
		n, err := resp.Body.Read(t.buf)
		stall.Reset(t.p.Stall)
		if n > 0 {
			if werr := t.write(t.buf[:n]); werr != nil {
				return werr
			}
		}
		switch {
		case err == io.EOF && t.total < 0, err == io.EOF && t.have == t.total:
			t.total = t.have
			return nil
		case err == io.EOF:
			return cutError{io.ErrUnexpectedEOF}
		case err != nil && ctx.Err() != nil && !errors.Is(context.Cause(ctx), errStalled):
			return context.Cause(ctx)
		case err != nil && ctx.Err() != nil:
			return cutError{errStalled}
		case err != nil:
			return cutError{err}
		}
	}
}

// header asks for the rest of what is there in part.
func (t *transfer) header() http.Header {
	h := http.Header{}
	if t.have > 0 {
		h.Set("Range", fmt.Sprintf("bytes=%d-", t.have))
		if t.f.sha256 == "" {
			h.Set("If-Range", t.state.validator())
		}
	}
	return h
}

// accept judges the head of an answer: whole when nothing is missing.
func (t *transfer) accept(resp *http.Response) (whole bool, err error) {
	total := resp.ContentLength
	switch resp.StatusCode {
	case http.StatusOK:
		if t.have > 0 { // the server has no ranges, or another file
			if err := t.reset(); err != nil {
				return false, err
			}
		}
	case http.StatusPartialContent:
		var first int64
		first, total = contentRange(resp.Header.Get("Content-Range"))
		if first != t.have || (t.total >= 0 && total >= 0 && total != t.total) {
			return false, errAgain
		}
	case http.StatusRequestedRangeNotSatisfiable:
		if _, total := contentRange(resp.Header.Get("Content-Range")); total == t.have && total > 0 {
			t.total = total
			return true, nil
		}
		return false, errAgain
	default:
		return false, t.p.client.refusal(resp, t.f.name)
	}
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html") {
		return false, fmt.Errorf("%w: %s is a web page: give the address of the file itself", ErrNotGGUF, t.f.name)
	}
	if t.f.size >= 0 && total >= 0 && total != t.f.size {
		return false, fmt.Errorf("%w: %s has %s at the server, %s were announced: try again, it may be being replaced",
			ErrChecksum, t.f.name, Bytes(total), Bytes(t.f.size))
	}
	if t.total < 0 && total >= 0 {
		if err := t.p.space(total - t.have); err != nil {
			return false, err
		}
	}
	if total >= 0 {
		t.total = total
	}
	return false, t.remember(resp)
}

// contentRange reads "bytes 5-9/10" or "bytes */10"; what is missing is -1.
func contentRange(s string) (first, total int64) {
	first, total = -1, -1
	var last int64
	if n, _ := fmt.Sscanf(s, "bytes %d-%d/%d", &first, &last, &total); n >= 2 {
		return first, total
	}
	first = -1
	if n, _ := fmt.Sscanf(s, "bytes */%d", &total); n != 1 {
		total = -1
	}
	return first, total
}
