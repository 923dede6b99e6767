package openai

import (
	"context"
	"encoding/base64"
	"errors"
	"sync"
	"time"

	"github.com/outrider-llm/outrider/chat/reply"
	"github.com/outrider-llm/outrider/perception/media"
)

// spoken is how an answer is to be heard; nil: it is not.
type spoken struct{ voice, format string }

// messageAudio is an answer's sound, whole or in part.
type messageAudio struct {
	ID         string `json:"id,omitempty"`
	Data       string `json:"data,omitempty"`
	Transcript string `json:"transcript,omitempty"`
	ExpiresAt  int64  `json:"expires_at,omitempty"`
}

// spoken reads modalities and audio.
func (o *object) spoken(j *job) *spoken {
	heard := false
	for i, kind := range o.texts("modalities", 8) {
		switch kind {
		case "text":
		case "audio":
			heard = true
		default:
			o.fail(at("modalities", i), "unsupported_value", "'%s' is %.40q, must be text or audio", at("modalities", i), kind)
		}
	}
	if !heard {
		return nil
	}
	a := o.sub("audio")
	v := &spoken{voice: a.text("voice"), format: a.text("format")}
	if v.format == "" {
		v.format = "wav"
	}
	if v.format == "pcm" {
		v.format = "pcm16"
	}
	switch {
	case v.format != "wav" && v.format != "pcm16":
		a.fail("format", "unsupported_value", "'%sformat' is %.40q: this edge speaks wav and pcm16", a.path, v.format)
	case j.stream && v.format != "pcm16":
		a.fail("format", "unsupported_value", "'%sformat' is %s: a stream is spoken in pcm16", a.path, v.format)
	case j.n > 1:
		o.fail("n", "invalid_value", "'n' is %d: one answer is spoken at a time", j.n)
	}
	return v
}

// say speaks a whole answer.
func (s *server) say(ctx context.Context, v *spoken, text string) (*messageAudio, error) {
	var all media.Sound
	var list media.Sentences
	for _, one := range append(list.Push(text), list.Finish()) {
		if media.Plain(one) == "" {
			continue
		}
		err := s.senses.speak(ctx, media.Speech{Text: one, Voice: v.voice}, func(p media.Sound) error {
			all.Rate, all.PCM = pcmRate, append(all.PCM, media.Resample(p, pcmRate).PCM...)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	all.Rate = pcmRate
	b := media.WAV(all)
	if v.format == "pcm16" {
		b = all.Bytes()
	}
	return &messageAudio{ID: s.newID("audio_"), Data: base64.StdEncoding.EncodeToString(b), Transcript: text, ExpiresAt: s.now().Add(time.Hour).Unix()}, nil
}

// speaker is a chatSink whose text is spoken, sentence by sentence, while the rest is being decoded.
type speaker struct {
	*chatSink
	v     *spoken
	id    string
	list  media.Sentences
	queue chan string
	done  chan struct{}
	stop  context.CancelFunc

	mu  sync.Mutex
	err error // of speaking
}

func newSpeaker(ctx context.Context, c *chatSink, v *spoken) *speaker {
	ctx, stop := context.WithCancel(ctx)
	p := &speaker{chatSink: c, v: v, id: c.s.newID("audio_"), queue: make(chan string, 256), done: make(chan struct{}), stop: stop}
	go p.speak(ctx)
	return p
}

// close ends what is still being said.
func (p *speaker) close() {
	p.stop()
	<-p.done
}

func (p *speaker) failed() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// speak says what is queued until the queue is closed.
func (p *speaker) speak(ctx context.Context) {
	defer close(p.done)
	for {
		select {
		case <-ctx.Done():
			return
		case text, more := <-p.queue:
			if !more {
				return
			}
			err := p.s.senses.speak(ctx, media.Speech{Text: text, Voice: p.v.voice}, func(s media.Sound) error {
				return p.tell(&messageAudio{ID: p.id, Data: base64.StdEncoding.EncodeToString(media.Resample(s, pcmRate).Bytes())})
			})
			if err != nil && !errors.Is(err, media.ErrMedia) { // a "sentence" of marks alone has no sound
				p.mu.Lock()
				p.err = err
				p.mu.Unlock()
				return
			}
		}
	}
}

func (p *speaker) tell(a *messageAudio) error {
	k := p.chunk()
	k.Choices = []chunkChoice{{Delta: chatMessage{Audio: a}}}
	return p.out.send("", k)
}

// delta sends text as the transcript and hands full sentences on.
func (p *speaker) delta(choice int, d *delta) error {
	if err := p.failed(); err != nil {
		return perceptionError(err, "audio")
	}
	text := textOf(d.parts)
	rest := d.parts[:0:0]
	for _, q := range d.parts {
		if q.Kind != reply.Text {
			rest = append(rest, q)
		}
	}
	other := *d
	other.parts = rest
	if err := p.chatSink.delta(choice, &other); err != nil || text == "" {
		return err
	}
	if err := p.begin(choice); err != nil {
		return err
	}
	if err := p.tell(&messageAudio{ID: p.id, Transcript: text}); err != nil {
		return err
	}
	p.say(p.list.Push(text)...)
	return nil
}

// say queues sentences; when far too many wait, decoding waits with them.
func (p *speaker) say(sentences ...string) {
	for _, s := range sentences {
		if media.Plain(s) == "" {
			continue
		}
		select {
		case p.queue <- s:
		case <-p.done:
		}
	}
}

func (p *speaker) finish(choice int, d *delta, a *answer) error {
	if err := p.delta(choice, d); err != nil {
		return err
	}
	p.say(p.list.Finish())
	close(p.queue)
	<-p.done
	if err := p.failed(); err != nil {
		return perceptionError(err, "audio")
	}
	if err := p.tell(&messageAudio{ID: p.id, ExpiresAt: p.s.now().Add(time.Hour).Unix()}); err != nil {
		return err
	}
	return p.chatSink.finish(choice, &delta{}, a)
}
