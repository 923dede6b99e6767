package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/outrider-llm/outrider/cmd/outrider/terminal"
	"github.com/outrider-llm/outrider/perception"
	"github.com/outrider-llm/outrider/perception/media"
	outriderv1 "github.com/outrider-llm/outrider/proto/outrider/v1"
)

// talker holds a spoken conversation.
type talker struct {
	answer   func(context.Context, *outriderv1.GenerateRequest, func(*outriderv1.GenerateResponse)) (*outriderv1.Summary, error)
	senses   perception.Engine
	player   player
	req      *outriderv1.GenerateRequest
	system   string
	language string
	voice    string
	bargeIn  bool
	json     bool
	out      io.Writer
	notes    io.Writer

	gate     *media.Gate
	latest   *utterance // of the source's goroutine
	turns    chan *utterance
	messages []*outriderv1.Message
	waiting  string // heard and not answered: the person went on
}

// utterance is what a person says, from the moment they begin.
type utterance struct {
	pcm   chan []byte
	done  chan struct{} // nobody listens any more
	next  context.CancelFunc
	ctx   context.Context // done when the person speaks again
	ended time.Time       // of the speech; read it after pcm is closed
}

// exchange is how one turn went; times are from the end of the person's speech.
type exchange struct {
	Heard       string   `json:"heard"`
	Answer      string   `json:"answer"`
	RecognisedM *float64 `json:"recognised_ms,omitempty"`
	SentenceM   *float64 `json:"first_sentence_ms,omitempty"`
	SoundM      *float64 `json:"first_sound_ms,omitempty"`
	Interrupted bool     `json:"interrupted"`
}

func newTalker(t talker, hang time.Duration) *talker {
	t.gate = media.NewGate()
	t.gate.Hang = hang
	t.turns = make(chan *utterance, 16)
	return &t
}

// run talks until the source ends and all is answered, or ctx is done.
func (t *talker) run(ctx context.Context, from source) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(t.turns)
		err := from(ctx, func(pcm []int16) error { return t.hear(ctx, t.gate.Push(pcm)) })
		return firstOf(err, t.hear(ctx, t.gate.Flush()))
	})
	g.Go(func() error {
		for u := range t.turns {
			if err := t.turn(ctx, u); err != nil {
				return err
			}
		}
		return nil
	})
	return g.Wait()
}

// hear takes what the gate saw.
func (t *talker) hear(ctx context.Context, events []media.GateEvent) error {
	for _, e := range events {
		if e.Kind == media.Began {
			if t.latest != nil && t.bargeIn {
				t.latest.next()
			}
			u := &utterance{pcm: make(chan []byte, 4096), done: make(chan struct{})}
			u.ctx, u.next = context.WithCancel(ctx)
			t.latest = u
			select {
			case t.turns <- u:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if t.latest == nil {
			continue
		}
		if len(e.PCM) > 0 {
			select {
			case t.latest.pcm <- media.Sound{PCM: e.PCM}.Bytes():
			case <-t.latest.done:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if e.Kind == media.Ended {
			t.latest.ended = time.Now().Add(-t.gate.Hang)
			close(t.latest.pcm)
		}
	}
	return nil
}

// turn recognises what was said, answers it and says how long that took.
func (t *talker) turn(ctx context.Context, u *utterance) error {
	defer close(u.done)
	text, err := t.senses.Transcribe(ctx, t.language, func() ([]byte, error) {
		select {
		case b, more := <-u.pcm:
			if !more {
				return nil, io.EOF
			}
			return b, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}, func(string) error { return nil })
	if err != nil {
		return err
	}
	for range u.pcm { // all of it, so that the time of its end is known
	}
	r := &exchange{Heard: strings.TrimSpace(t.waiting + " " + text), RecognisedM: since(u.ended)}
	switch {
	case strings.TrimSpace(text) == "" && t.waiting == "":
		return nil // a cough
	case u.ctx.Err() != nil && ctx.Err() == nil:
		t.waiting = r.Heard // they went on
		return nil
	}
	t.waiting = ""
	if !t.json {
		fmt.Fprintf(t.out, "You: %s\n", terminal.Clean(r.Heard))
	}
	err = t.reply(u, r)
	u.next()
	if err != nil && ctx.Err() == nil && r.Interrupted {
		err = nil
	}
	t.report(r)
	return err
}

// since is the time from the end of the speech in milliseconds.
func since(ended time.Time) *float64 {
	v := float64(time.Since(ended).Microseconds()) / 1000
	return &v
}

// reply decodes an answer and speaks it, sentence by sentence.
func (t *talker) reply(u *utterance, r *exchange) error {
	t.messages = append(t.messages, &outriderv1.Message{Role: "user", Content: r.Heard})
	all := t.messages
	if t.system != "" {
		all = append([]*outriderv1.Message{{Role: "system", Content: t.system}}, all...)
	}
	t.req.Input = &outriderv1.GenerateRequest_Conversation{Conversation: &outriderv1.Conversation{Messages: all}}
	g, ctx := errgroup.WithContext(u.ctx)
	sentences, sounds := make(chan string, 1024), make(chan media.Sound, 4)
	var text strings.Builder
	g.Go(func() error {
		defer close(sentences)
		return t.decode(ctx, u, r, &text, sentences)
	})
	g.Go(func() error {
		defer close(sounds)
		return t.speak(ctx, sentences, sounds)
	})
	var once sync.Once
	g.Go(func() error {
		for s := range sounds {
			once.Do(func() { r.SoundM = since(u.ended) })
			if err := t.player.play(ctx, s); err != nil {
				return err
			}
		}
		return nil
	})
	err := g.Wait()
	r.Answer, r.Interrupted = text.String(), u.ctx.Err() != nil
	content := r.Answer
	if strings.TrimSpace(content) == "" {
		content = "…" // a turn without text is no turn to any template
	}
	t.messages = append(t.messages, &outriderv1.Message{Role: "assistant", Content: content})
	return err
}

// decode asks for the answer, shows it and hands sentences on.
func (t *talker) decode(ctx context.Context, u *utterance, r *exchange, text *strings.Builder, to chan<- string) error {
	var list media.Sentences
	give := func(sentences ...string) {
		for _, s := range sentences {
			if media.Plain(s) == "" {
				continue
			}
			if r.SentenceM == nil {
				r.SentenceM = since(u.ended)
			}
			select {
			case to <- s:
			case <-ctx.Done():
			}
		}
	}
	_, err := t.answer(ctx, t.req, func(m *outriderv1.GenerateResponse) {
		piece := ""
		for _, k := range m.GetTokens() {
			piece += k.GetText()
		}
		piece += m.GetTail()
		text.WriteString(piece)
		if !t.json {
			fmt.Fprint(t.out, terminal.Clean(piece))
		}
		give(list.Push(piece)...)
	})
	give(list.Finish())
	if !t.json {
		fmt.Fprintln(t.out)
	}
	return err
}

// speak makes sounds of sentences, ahead of what is being heard.
func (t *talker) speak(ctx context.Context, from <-chan string, to chan<- media.Sound) error {
	for s := range from {
		err := t.senses.Speak(ctx, media.Speech{Text: s, Language: t.language, Voice: t.voice}, func(p media.Sound) error {
			select {
			case to <- p:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
		if err != nil && !errors.Is(err, media.ErrMedia) { // marks alone have no sound
			return err
		}
	}
	return nil
}

func (t *talker) report(r *exchange) {
	if t.json {
		b, _ := json.Marshal(r) // of texts and numbers, never fails
		fmt.Fprintf(t.out, "%s\n", b)
		return
	}
	switch {
	case r.SoundM == nil:
		fmt.Fprintln(t.notes, "(nothing was spoken)")
	case r.Interrupted:
		fmt.Fprintln(t.notes, "(stopped: you spoke)")
	default:
		fmt.Fprintf(t.notes, "(first sound %.0f ms after you stopped: recognised at %.0f ms, first sentence at %.0f ms)\n", *r.SoundM, *r.RecognisedM, *r.SentenceM)
	}
}
