// Package pull fetches GGUF files from Hugging Face or any URL into a folder: checked, resumable,
// and never half there under their own name.
package pull

import (
	"context"
	"errors"
	"time"
)

// DefaultEndpoint is Hugging Face.
const DefaultEndpoint = "https://huggingface.co"

// Config of a pull. Only Dir is required.
type Config struct {
	Dir      string // models go below it: OWNER/REPO/FILE, or HOST/FILE
	Endpoint string // of Hugging Face or a mirror; default DefaultEndpoint
	Token    string // for Endpoint, and sent nowhere else; "" for none
	SHA256   string // that the file must have, for URLs that say nothing about it

	Free     func(dir string) (uint64, error) // bytes left on the disk; default: asks the system
	Progress func(Progress)                   // called often
	Say      func(format string, a ...any)    // one line about what happens: retries, files that are there already

	Retries int           // attempts in a row without a byte; default 6
	MinWait time.Duration // before the first of them; doubles; default 500 ms
	MaxWait time.Duration // default 30 s; a server that asks for more is not asked again
	Stall   time.Duration // a transfer without a byte for so long is begun anew; default 1 min
}

// Progress of one file.
type Progress struct {
	File        string // its name
	Part, Parts int    // of a split model, from 1
	Done, Total int64  // bytes; Total is -1 while unknown
	Checking    bool   // what is there already is being read
}

// Result of a pull.
type Result struct {
	Path    string   // the model's file, or its first part
	Files   []string // all parts
	Bytes   int64    // size
	Fetched int64    // bytes that came over the network now
	Checked bool     // the SHA-256 was known and right
}

// Errors that Pull wraps.
var (
	// ErrReference: what to pull cannot be understood.
	ErrReference = errors.New("not a model reference")
	// ErrNotFound: the server has no such repository or file.
	ErrNotFound = errors.New("not found")
	// ErrRefused: a token is missing or does not open this.
	ErrRefused = errors.New("refused")
	// ErrChoose: the repository has several models; the text lists them.
	ErrChoose = errors.New("several models")
	// ErrChecksum: what came is not what was announced; it was deleted.
	ErrChecksum = errors.New("wrong checksum")
	// ErrNotGGUF: what came is something else.
	ErrNotGGUF = errors.New("not a GGUF file")
	// ErrSpace: the disk is too full.
	ErrSpace = errors.New("not enough disk space")
	// ErrBusy: another process pulls the same file.
	ErrBusy = errors.New("another pull of this file is running")
	// ErrNetwork: the server cannot be reached or fails; what came is kept for the next try.
	ErrNetwork = errors.New("the transfer failed")
)

// file is one file to fetch.
type file struct {
	name        string // below Dir, with slashes
	url         string
	size        int64  // -1: unknown
	sha256      string // hexadecimal, "" unknown
	part, parts int
}

// puller is one call of Pull.
type puller struct {
	Config
	client client
	result Result
}

// Pull fetches what a reference names (see Parse). After an error or a cancelled ctx what came is
// kept, and the same call goes on from there.
func Pull(ctx context.Context, c Config, reference string) (Result, error) {
	ref, err := Parse(reference, c.endpoint())
	if err != nil {
		return Result{}, err
	}
	p := &puller{Config: c}
	p.defaults()
	p.client = newClient(&p.Config)
	defer p.client.close()
	files, err := p.files(ctx, ref)
	if err != nil {
		return Result{}, err
	}
	if err := p.enough(files); err != nil {
		return Result{}, err
	}
	p.result.Checked = true
	for _, f := range files {
		if err := p.fetch(ctx, f); err != nil {
			return Result{}, err
		}
	}
	p.result.Path = p.result.Files[0]
	return p.result, nil
}

func (c *Config) endpoint() string {
	if c.Endpoint == "" {
		return DefaultEndpoint
	}
	return c.Endpoint
}

func (c *Config) defaults() {
	c.Endpoint = c.endpoint()
	if c.Free == nil {
		c.Free = freeSpace
	}
	if c.Progress == nil {
		c.Progress = func(Progress) {}
	}
	if c.Say == nil {
		c.Say = func(string, ...any) {}
	}
	if c.Retries <= 0 {
		c.Retries = 6
	}
	set := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	set(&c.MinWait, 500*time.Millisecond)
	set(&c.MaxWait, 30*time.Second)
	set(&c.Stall, time.Minute)
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
