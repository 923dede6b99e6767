package local

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/outrider-llm/outrider/perception/media"
)

// Limits on one program.
const (
	maxTime   = 60 * time.Second // unless the job says otherwise
	maxOutput = 32 << 20         // bytes
	maxMemory = 1 << 30          // bytes of address space, where the system can bound it
	maxFile   = 128 << 20        // bytes of a file that it writes; espeak-ng makes one of 64 MiB for sound
	maxError  = 4 << 10          // bytes of standard error that are kept
)

// job is one run of a program.
type job struct {
	name   string
	args   []string
	dir    string // working folder
	in     io.Reader
	time   time.Duration
	stdout func([]byte) error // gets output as it comes; nil: it is returned
}

// errFlood: more output than any answer has.
var errFlood = fmt.Errorf("more than %d MiB of output", maxOutput>>20)

// bounded counts what a program writes.
type bounded struct {
	n    int
	most int
	to   func([]byte) error
	stop func(error)
}

func (b *bounded) Write(p []byte) (int, error) {
	if b.n += len(p); b.n > b.most {
		b.stop(errFlood)
		return 0, errFlood
	}
	if err := b.to(p); err != nil {
		b.stop(err)
		return 0, err
	}
	return len(p), nil
}

// run runs a program with bounded time, memory and output, an empty environment but for the path, in its own process
// group, and returns its output. Errors wrap media.ErrMissing, media.ErrEngine or the context's error.
func (e *Engine) run(ctx context.Context, j job) ([]byte, error) {
	path, err := exec.LookPath(e.program(j.name))
	if err != nil {
		return nil, missing(j.name)
	}
	if j.time == 0 {
		j.time = e.timeout
	}
	outer := ctx
	ctx, cancel := context.WithTimeout(ctx, j.time)
	defer cancel()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	cmd := exec.CommandContext(ctx, path, j.args...)
	cmd.Dir, cmd.Stdin = j.dir, j.in
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LANG=C.UTF-8", "LC_ALL=C.UTF-8", "OMP_THREAD_LIMIT=1"}
	group(cmd)
	cmd.WaitDelay = 2 * time.Second // for pipes that a grandchild holds, and input that does not end
	var out, said bytes.Buffer
	to := j.stdout
	if to == nil {
		to = func(b []byte) error { out.Write(b); return nil }
	}
	cmd.Stdout = &bounded{most: maxOutput, to: to, stop: stop}
	cmd.Stderr = &bounded{most: maxOutput, stop: stop, to: func(b []byte) error {
		said.Write(b[:min(len(b), max(0, maxError-said.Len()))])
		return nil
	}}
	if err = cmd.Start(); err == nil {
		limit(cmd.Process.Pid)
		err = cmd.Wait()
	}
	if err == nil || j.stdout != nil && errors.Is(err, exec.ErrWaitDelay) {
		return out.Bytes(), nil
	}
	cause := context.Cause(ctx)
	switch {
	case outer.Err() != nil:
		return nil, outer.Err()
	case errors.Is(cause, context.DeadlineExceeded):
		return nil, fmt.Errorf("%w: %s took longer than %s and was ended: give it less, or raise the option timeout", media.ErrEngine, j.name, j.time)
	case cause != nil:
		return nil, fmt.Errorf("%w: %s: %w", media.ErrEngine, j.name, cause)
	}
	return nil, fmt.Errorf("%w: %s failed (%w)%s", media.ErrEngine, j.name, err, quote(said.String()))
}

func quote(s string) string {
	s = strings.Join(strings.Fields(media.Plain(s)), " ")
	if s == "" {
		return ""
	}
	return ": " + strings.ToValidUTF8(s[max(0, len(s)-200):], "")
}

// packages says which Debian package holds a program.
func packages() map[string]string {
	return map[string]string{"pocketsphinx_continuous": "pocketsphinx pocketsphinx-en-us", "flite": "flite", "espeak-ng": "espeak-ng", "tesseract": "tesseract-ocr", "zbarimg": "zbar-tools"}
}

func missing(program string) error {
	return fmt.Errorf("%w: %s is not installed: apt-get install %s", media.ErrMissing, program, packages()[program])
}

// scratch calls f with an empty folder of its own.
func scratch(f func(dir string) error) error {
	dir, err := os.MkdirTemp("", "outrider-perception-*")
	if err != nil {
		return fmt.Errorf("%w: no temporary folder: %w", media.ErrEngine, err)
	}
	return errors.Join(f(dir), os.RemoveAll(dir))
}
