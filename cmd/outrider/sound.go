package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"time"

	"github.com/outrider-llm/outrider/perception/media"
)

// soundProgram is a program that records or plays raw 16-bit mono samples.
type soundProgram struct {
	name string
	args func(rate int) []string
}

// recorders and players in the order of preference.
func recorders() []soundProgram {
	return []soundProgram{
		{"parecord", func(rate int) []string {
			return []string{"--raw", "--format=s16le", "--channels=1", "--latency-msec=30", "--rate=" + strconv.Itoa(rate)}
		}},
		{"arecord", func(rate int) []string {
			return []string{"-q", "-t", "raw", "-f", "S16_LE", "-c", "1", "-r", strconv.Itoa(rate)}
		}},
		{"rec", func(rate int) []string {
			return []string{"-q", "-t", "raw", "-e", "signed", "-b", "16", "-c", "1", "-r", strconv.Itoa(rate), "-"}
		}},
	}
}

func players() []soundProgram {
	return []soundProgram{
		{"pacat", func(rate int) []string {
			return []string{"--raw", "--format=s16le", "--channels=1", "--latency-msec=50", "--rate=" + strconv.Itoa(rate)}
		}},
		{"aplay", func(rate int) []string {
			return []string{"-q", "-t", "raw", "-f", "S16_LE", "-c", "1", "-r", strconv.Itoa(rate)}
		}},
		{"play", func(rate int) []string {
			return []string{"-q", "-t", "raw", "-e", "signed", "-b", "16", "-c", "1", "-r", strconv.Itoa(rate), "-"}
		}},
	}
}

func firstOfPrograms(list []soundProgram) *soundProgram {
	for _, p := range list {
		if _, err := exec.LookPath(p.name); err == nil {
			return &p
		}
	}
	return nil
}

// missingSound says what outrider talk lacks for a microphone and a loudspeaker.
func missingSound() []string {
	var out []string
	if firstOfPrograms(recorders()) == nil {
		out = append(out, "no program that records, for outrider talk: apt-get install alsa-utils (or pulseaudio-utils, sox)")
	}
	if firstOfPrograms(players()) == nil {
		out = append(out, "no program that plays, for outrider talk: apt-get install alsa-utils (or pulseaudio-utils, sox)")
	}
	return out
}

// player plays sound; play returns when it was heard, or what was left is dropped when ctx is done.
type player interface {
	play(ctx context.Context, s media.Sound) error
	close() error
}

// devicePlayer plays with a program, one process for each sound: it is silent at once when killed.
type devicePlayer struct{ p *soundProgram }

func (d devicePlayer) play(ctx context.Context, s media.Sound) error {
	cmd := exec.CommandContext(ctx, d.p.name, d.p.args(s.Rate)...)
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("cannot play: %w", err)
	}
	_, _ = in.Write(s.Bytes()) // Wait tells why
	_ = in.Close()
	if err := cmd.Wait(); err != nil && ctx.Err() == nil {
		return fmt.Errorf("%s cannot play (%w): is there a sound device? --out FILE.wav needs none", d.p.name, err)
	}
	return ctx.Err()
}

func (d devicePlayer) close() error { return nil }

// filePlayer writes what would be heard to a WAV file, and takes as long as it takes to hear it.
type filePlayer struct {
	path string
	wait func(context.Context, time.Duration) error

	mu    sync.Mutex
	heard media.Sound
}

func (f *filePlayer) play(ctx context.Context, s media.Sound) error {
	const piece = 50 * time.Millisecond
	s = media.Resample(s, media.Rate)
	for len(s.PCM) > 0 {
		if err := f.wait(ctx, min(piece, s.Duration())); err != nil {
			return err
		}
		n := min(len(s.PCM), int(piece.Seconds()*media.Rate))
		f.mu.Lock()
		f.heard.Rate, f.heard.PCM = s.Rate, append(f.heard.PCM, s.PCM[:n]...)
		f.mu.Unlock()
		s.PCM = s.PCM[n:]
	}
	return nil
}

func (f *filePlayer) close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.heard.Rate = media.Rate
	return os.WriteFile(f.path, media.WAV(f.heard), 0o600)
}

// pause waits for d.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// noPause is pause without waiting.
func noPause(ctx context.Context, _ time.Duration) error { return ctx.Err() }

// source gives samples at media.Rate until it ends or ctx is done.
type source func(ctx context.Context, give func([]int16) error) error

// wavSource gives a file's samples at the pace at which a microphone would, then silence.
func wavSource(path string, hurry bool) (source, error) {
	data, err := readSound(path)
	if err != nil {
		return nil, err
	}
	s, err := media.ParseWAV(data)
	if err != nil {
		return nil, usagef("--wav %s: %w", path, err)
	}
	s = media.Resample(s, media.Rate)
	s.PCM = append(s.PCM, make([]int16, media.Rate)...) // the silence that ends it
	return func(ctx context.Context, give func([]int16) error) error { return pour(ctx, s, hurry, give) }, nil
}

func pour(ctx context.Context, s media.Sound, hurry bool, give func([]int16) error) error {
	const piece = media.Rate / 20
	begun := time.Now()
	for i := 0; len(s.PCM) > 0; i++ {
		n := min(piece, len(s.PCM))
		if !hurry {
			if err := pause(ctx, time.Until(begun.Add(time.Duration(i+1)*50*time.Millisecond))); err != nil {
				return err
			}
		}
		if err := give(s.PCM[:n]); err != nil {
			return err
		}
		s.PCM = s.PCM[n:]
	}
	return nil
}

// maxWAV bounds a file that is read, in bytes.
const maxWAV = 256 << 20

func readSound(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, usagef("--wav: %w", err)
	}
	defer f.Close() //nolint:errcheck // it was read
	b, err := io.ReadAll(io.LimitReader(f, maxWAV+1))
	if err == nil && len(b) > maxWAV {
		err = fmt.Errorf("%s is larger than %d MiB", path, maxWAV>>20)
	}
	return b, err
}

// microphone gives what a program records until ctx is done.
func microphone(p *soundProgram) source {
	return func(ctx context.Context, give func([]int16) error) error { return record(ctx, p, give) }
}

func record(ctx context.Context, p *soundProgram, give func([]int16) error) error {
	cmd := exec.CommandContext(ctx, p.name, p.args(media.Rate)...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("cannot record: %w", err)
	}
	buf := make([]byte, media.Rate/20*2)
	for err == nil {
		if _, err = io.ReadFull(out, buf); err == nil {
			err = give(media.Samples(buf))
		}
	}
	if wait := cmd.Wait(); wait != nil && ctx.Err() == nil {
		return fmt.Errorf("%s cannot record (%w): is there a microphone? --wav FILE needs none", p.name, wait)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	return err
}
