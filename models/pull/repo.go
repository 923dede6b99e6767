package pull

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/outrider-llm/outrider/models/local"
)

// preferred quantisations when none is asked for: what most people use first.
var preferred = [...]string{"Q4_K_M", "Q8_0"}

// entry of a repository's listing.
type entry struct {
	Type string `json:"type"`
	Path string `json:"path"`
	Size int64  `json:"size"`
	LFS  *struct {
		OID  string `json:"oid"` // SHA-256
		Size int64  `json:"size"`
	} `json:"lfs"`
}

// candidate is a model of a repository: one file, or all parts of a split one.
type candidate struct {
	stem  string
	parts []entry
	of    int // parts there should be
}

func (c *candidate) size() (n int64) {
	for _, p := range c.parts {
		n += p.Size
	}
	return n
}

// files lists what a reference stands for.
func (p *puller) files(ctx context.Context, r Reference) ([]file, error) {
	if r.URL != "" {
		return p.plain(r.URL)
	}
	entries, err := p.list(ctx, r)
	if err != nil {
		return nil, err
	}
	c, err := choose(r, candidates(entries))
	if err != nil {
		return nil, err
	}
	if len(c.parts) != c.of {
		return nil, fmt.Errorf("%w: %s of %s has %d of its %d parts", ErrNotFound, c.stem, r.Repo, len(c.parts), c.of)
	}
	if p.SHA256 != "" && c.of > 1 {
		return nil, fmt.Errorf("%w: --sha256 is for one file, %s has %d parts", ErrReference, c.stem, c.of)
	}
	var out []file
	for i, e := range c.parts {
		f := file{name: r.Repo + "/" + e.Path, size: e.Size, part: i + 1, parts: c.of, sha256: p.SHA256,
			url: p.Endpoint + "/" + r.Repo + "/resolve/" + url.PathEscape(r.Revision) + "/" + escape(e.Path)}
		if e.LFS != nil && f.sha256 == "" {
			f.sha256 = e.LFS.OID
		}
		if !safe(f.name) || (f.sha256 != "" && !hexSHA256.MatchString(f.sha256)) {
			return nil, fmt.Errorf("%w: %s lists a file with an unusable name or checksum: %q", ErrNotFound, r.Repo, e.Path)
		}
		out = append(out, f)
	}
	return out, nil
}

var hexSHA256 = regexp.MustCompile(`^[0-9a-fA-F]{64}$`)

// plain is the file behind a URL; what is beside it is unknown, so parts cannot be.
func (p *puller) plain(s string) ([]file, error) {
	u, err := url.Parse(s)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrReference, err)
	}
	base := path.Base(u.Path)
	if _, _, parts, split := local.Split(base); split && parts > 1 {
		return nil, fmt.Errorf("%w: %s is one of %d parts, which a URL cannot name: pull OWNER/REPO:%s from Hugging Face, "+
			"or merge the parts with llama-gguf-split --merge", ErrReference, base, parts, path.Base(local.Stem(base)))
	}
	f := file{name: strings.ToLower(u.Hostname()) + "/" + base, url: s, size: -1, sha256: p.SHA256, part: 1, parts: 1}
	f.name = strings.ReplaceAll(f.name, ":", "-") // of an IPv6 address
	if !safe(f.name) {
		return nil, fmt.Errorf("%w: %q makes no file name", ErrReference, base)
	}
	return []file{f}, nil
}

func escape(p string) string {
	parts := strings.Split(p, "/")
	for i := range parts {
		parts[i] = url.PathEscape(parts[i])
	}
	return strings.Join(parts, "/")
}

const (
	maxListing  = 16 << 20 // bytes of one page
	maxPages    = 50
	listTimeout = 5 * time.Minute
)

// list reads the repository's files, page by page.
func (p *puller) list(ctx context.Context, r Reference) ([]entry, error) {
	next := p.Endpoint + "/api/models/" + r.Repo + "/tree/" + url.PathEscape(r.Revision) + "?recursive=true"
	var all []entry
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	for range maxPages {
		resp, err := p.client.get(ctx, next, nil)
		if err != nil {
			return nil, fmt.Errorf("the file list of %s: %w", r.Repo, err)
		}
		body, err := io.ReadAll(io.LimitReader(resp.Body, maxListing))
		_ = resp.Body.Close() // it was only read
		if resp.StatusCode != http.StatusOK {
			return nil, p.client.refusal(resp, "repository "+r.Repo+" (revision "+r.Revision+")")
		}
		var page []entry
		if err == nil {
			err = json.Unmarshal(body, &page)
		}
		if err != nil {
			return nil, fmt.Errorf("%w: the file list of %s cannot be read: %w (is HF_ENDPOINT right?)", ErrNetwork, r.Repo, err)
		}
		all = append(all, page...)
		if next = nextPage(resp, next); next == "" {
			break
		}
	}
	return all, nil
}

var nextLink = regexp.MustCompile(`<([^>]+)>;\s*rel="?next"?`)

// nextPage is the address in the Link header, "" when it leads elsewhere.
func nextPage(resp *http.Response, from string) string {
	m := nextLink.FindStringSubmatch(resp.Header.Get("Link"))
	if m == nil {
		return ""
	}
	base, err := url.Parse(from)
	if err != nil {
		return ""
	}
	u, err := base.Parse(m[1])
	if err != nil || u.Host != base.Host {
		return ""
	}
	return u.String()
}

// candidates groups the GGUF files of a listing.
func candidates(entries []entry) []candidate {
	var out []candidate
	at := map[string]int{}
	for _, e := range entries {
		if e.Type != "file" || !strings.EqualFold(path.Ext(e.Path), ".gguf") || local.Projector(e.Path) {
			continue
		}
		if e.LFS != nil && e.LFS.Size > 0 {
			e.Size = e.LFS.Size
		}
		stem, _, of, split := local.Split(e.Path)
		key := stem
		if !split {
			key, stem, of = e.Path, local.Stem(e.Path), 1
		}
		i, known := at[key]
		if !known {
			i = len(out)
			at[key] = i
			out = append(out, candidate{stem: stem, of: of})
		}
		out[i].parts = append(out[i].parts, e)
	}
	for i := range out {
		slices.SortFunc(out[i].parts, func(a, b entry) int { return strings.Compare(a.Path, b.Path) })
	}
	return out
}

// choose finds the model that is meant.
func choose(r Reference, all []candidate) (candidate, error) {
	if len(all) == 0 {
		return candidate{}, fmt.Errorf("%w: %s has no GGUF file: look for a repository whose name ends in -GGUF", ErrNotFound, r.Repo)
	}
	wanted := []string{r.Pick}
	if r.Pick == "" {
		if len(all) == 1 {
			return all[0], nil
		}
		wanted = preferred[:]
	}
	for _, w := range wanted {
		var fit []candidate
		for _, c := range all {
			if c.called(w) {
				fit = append(fit, c)
			}
		}
		if len(fit) == 1 {
			return fit[0], nil
		}
		if len(fit) > 1 {
			return candidate{}, fmt.Errorf("%w of %s are called %s, name one: %s", ErrChoose, r.Repo, w, menu(fit))
		}
	}
	if r.Pick != "" {
		return candidate{}, fmt.Errorf("%w: %s has no %s; it has %s", ErrNotFound, r.Repo, r.Pick, menu(all))
	}
	return candidate{}, fmt.Errorf("%w in %s, name one as %s:QUANT: %s", ErrChoose, r.Repo, r.Repo, menu(all))
}

// called: by path, by file name, by name without .gguf, or by quantisation.
func (c *candidate) called(w string) bool {
	first := c.parts[0].Path
	for _, n := range []string{first, path.Base(first), c.stem, path.Base(c.stem), c.stem + ".gguf", path.Base(c.stem) + ".gguf", local.Quant(c.stem)} {
		if n != "" && strings.EqualFold(n, w) {
			return true
		}
	}
	return c.of > 1 && slices.ContainsFunc(c.parts, func(e entry) bool { return strings.EqualFold(e.Path, w) })
}

// menu lists models with their sizes.
func menu(all []candidate) string {
	const most = 24
	var b strings.Builder
	for i, c := range all {
		if i == most {
			fmt.Fprintf(&b, ", and %d more", len(all)-most)
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		name := path.Base(c.stem)
		if q := local.Quant(c.stem); q != "" {
			name = q
		}
		fmt.Fprintf(&b, "%s (%s)", name, Bytes(c.size()))
	}
	return b.String()
}

// Bytes writes a size as people say it, in powers of ten.
func Bytes(n int64) string {
	switch {
	case n >= 1e9:
		return fmt.Sprintf("%.2f GB", float64(n)/1e9)
	case n >= 1e6:
		return fmt.Sprintf("%.0f MB", float64(n)/1e6)
	}
	return fmt.Sprintf("%.0f kB", float64(n)/1e3)
}
