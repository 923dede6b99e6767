package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/outrider-llm/outrider/perception/media"
	outriderv1 "github.com/outrider-llm/outrider/proto/outrider/v1"
)

// toySenses hears the length of what it got and speaks a tenth of a second for each sentence.
type toySenses struct{}

func (toySenses) Abilities() media.Abilities { return media.Abilities{Transcribes: true, Speaks: true} }

func (toySenses) Transcribe(_ context.Context, _ string, next func() ([]byte, error), _ func(string) error) (string, error) {
	for {
		if _, err := next(); errors.Is(err, io.EOF) {
			return "hello", nil
		} else if err != nil {
			return "", err
		}
	}
}

func (toySenses) Speak(_ context.Context, _ media.Speech, emit func(media.Sound) error) error {
	return emit(media.Sound{Rate: media.Rate, PCM: make([]int16, media.Rate/10)})
}

func (toySenses) Read(context.Context, media.Question) (media.Page, error) {
	return media.Page{}, nil
}

// slowPlayer plays until it is told to stop.
type slowPlayer struct {
	began chan struct{}
	hold  bool
	n     int
}

func (p *slowPlayer) play(ctx context.Context, _ media.Sound) error {
	p.n++
	select {
	case p.began <- struct{}{}:
	default:
	}
	if p.hold {
		<-ctx.Done()
		return ctx.Err()
	}
	return nil
}
func (p *slowPlayer) close() error { return nil }

func voiceFor(d time.Duration) []int16 {
	out := make([]int16, int(d.Seconds()*media.Rate))
	for i := range out {
		out[i] = int16(8000 * math.Sin(float64(i)/8))
	}
	return out
}

func answering(text string) func(context.Context, *outriderv1.GenerateRequest, func(*outriderv1.GenerateResponse)) (*outriderv1.Summary, error) {
	return func(_ context.Context, _ *outriderv1.GenerateRequest, emit func(*outriderv1.GenerateResponse)) (*outriderv1.Summary, error) {
		for _, w := range strings.SplitAfter(text, " ") {
			emit(&outriderv1.GenerateResponse{Tokens: []*outriderv1.GeneratedToken{{Text: w}}})
		}
		return &outriderv1.Summary{}, nil
	}
}

func TestTalk(t *testing.T) {
	var out, notes bytes.Buffer
	p := &slowPlayer{began: make(chan struct{}, 1)}
	k := newTalker(talker{answer: answering("Hi there. How are you today?"), senses: toySenses{}, player: p, req: &outriderv1.GenerateRequest{}, out: &out, notes: &notes}, 300*time.Millisecond)
	err := k.run(t.Context(), func(_ context.Context, give func([]int16) error) error {
		return errors.Join(give(make([]int16, 8000)), give(voiceFor(time.Second)), give(make([]int16, 16000)), give(voiceFor(40*time.Millisecond)), give(make([]int16, 16000)))
	})
	if err != nil || out.String() != "You: hello\nHi there. How are you today?\n" || p.n != 2 || !strings.Contains(notes.String(), "first sound") {
		t.Errorf("%v %q %q, %d sounds", err, out.String(), notes.String(), p.n)
	}
	if len(k.messages) != 2 {
		t.Errorf("%d messages", len(k.messages))
	}
}

func TestTalkStopsWhenThePersonSpeaks(t *testing.T) {
	var out bytes.Buffer
	p := &slowPlayer{began: make(chan struct{}), hold: true}
	k := newTalker(talker{answer: answering("A long story begins. It goes on."), senses: toySenses{}, player: p, req: &outriderv1.GenerateRequest{}, bargeIn: true, json: true,
		out: &out, notes: io.Discard}, 300*time.Millisecond)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	err := k.run(ctx, func(_ context.Context, give func([]int16) error) error {
		err := errors.Join(give(make([]int16, 8000)), give(voiceFor(time.Second)), give(make([]int16, 16000)))
		<-p.began
		err = errors.Join(err, give(voiceFor(time.Second)), give(make([]int16, 16000)))
		<-p.began
		k.latest.next() // the end of the test: nobody else would stop it
		return err
	})
	var first exchange
	if json.Unmarshal(out.Bytes()[:bytes.IndexByte(out.Bytes(), '\n')], &first) != nil || !first.Interrupted || first.SoundM == nil || err != nil {
		t.Errorf("%v %s", err, out.String())
	}
}

func TestTalkToFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "out.wav")
	if _, err := soundPlayer(filepath.Join(file, "no", "out.wav"), true); err == nil {
		t.Error("a file in a folder that is not there was accepted")
	}
	p := &filePlayer{path: file, wait: noPause}
	ctx, cancel := context.WithCancel(t.Context())
	if err := p.play(ctx, media.Sound{Rate: 8000, PCM: make([]int16, 4001)}); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := p.play(ctx, media.Sound{Rate: 8000, PCM: make([]int16, 4000)}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := p.close(); err != nil {
		t.Fatal(err)
	}
	b, err := readSound(file)
	if err != nil {
		t.Fatal(err)
	}
	if s, err := media.ParseWAV(b); err != nil || len(s.PCM) != 8002 {
		t.Error(len(s.PCM), err)
	}
	if code, _, errs := outrider(t, "", "talk", "--wav", filepath.Join(t.TempDir(), "none.wav"), "--out", file); code == 0 || strings.Count(errs, "\n") != 1 {
		t.Errorf("%d %q", code, errs)
	}
}
