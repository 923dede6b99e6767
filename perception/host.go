package perception

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/perception/media"
	outriderv1 "github.com/outrider-llm/outrider/proto/outrider/v1"
)

// minLife is how soon a plugin that died is not started again.
const minLife = time.Second

// Host runs a perception plugin. Calls keep no state in it, so a plugin that died is started anew by the next call.
type Host struct {
	c         backend.HostConfig
	abilities media.Abilities

	mu     sync.Mutex
	run    *backend.Process
	rpc    outriderv1.PerceptionServiceClient
	begun  time.Time
	closed bool
}

// Launch starts the plugin: of c the command, its arguments, the environment and the options count. Errors are one line.
func Launch(ctx context.Context, c backend.HostConfig) (*Host, error) {
	h := &Host{c: c}
	if _, err := h.client(ctx); err != nil {
		return nil, err
	}
	return h, nil
}

// client returns that of a running plugin.
func (h *Host) client(ctx context.Context) (outriderv1.PerceptionServiceClient, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, fmt.Errorf("%w: it was closed", media.ErrEngine)
	}
	if h.run != nil {
		select {
		case <-h.run.Exited():
			h.run.Stop()
			h.run = nil
		default:
			return h.rpc, nil
		}
		if time.Since(h.begun) < minLife {
			return nil, fmt.Errorf("%w: the perception plugin died at once: look at the edge's log", media.ErrEngine)
		}
	}
	h.begun = time.Now()
	run, service, err := backend.Spawn(ctx, h.c, PluginName, &grpcPlugin{})
	if err != nil {
		return nil, fmt.Errorf("perception: %w", err)
	}
	rpc := service.(outriderv1.PerceptionServiceClient)
	a, err := rpc.Open(ctx, &outriderv1.OpenRequest{Options: h.c.Options})
	if err != nil {
		run.Stop()
		return nil, fmt.Errorf("perception: %w", fromStatus(ctx, err))
	}
	h.run, h.rpc = run, rpc
	h.abilities = media.Abilities{Engine: a.GetEngine(), Transcribes: a.GetTranscribes(), Speaks: a.GetSpeaks(), Reads: a.GetReads(), Missing: a.GetMissing()}
	return rpc, nil
}

// Abilities implements Engine.
func (h *Host) Abilities() media.Abilities {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.abilities
}

// PID is the plugin's process id, 0 while there is none.
func (h *Host) PID() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.run == nil {
		return 0
	}
	return h.run.PID()
}

// Transcribe implements Engine.
func (h *Host) Transcribe(ctx context.Context, language string, next func() ([]byte, error), emit func(string) error) (string, error) {
	rpc, err := h.client(ctx)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stream, err := rpc.Transcribe(ctx)
	if err != nil {
		return "", fromStatus(ctx, err)
	}
	if err := stream.Send(&outriderv1.TranscribeRequest{Language: language}); err != nil && !errors.Is(err, io.EOF) {
		return "", fromStatus(ctx, err)
	}
	go func() { // ends with the input, or when the call does; next must not block beyond ctx
		for {
			b, err := next()
			switch {
			case errors.Is(err, io.EOF):
				_ = stream.CloseSend() // what failed is told by Recv
				return
			case err != nil:
				cancel(err)
				return
			}
			for len(b) > 0 {
				n := min(2*maxPiece, len(b))
				if stream.Send(&outriderv1.TranscribeRequest{Pcm: b[:n]}) != nil {
					return // what failed is told by Recv
				}
				b = b[n:]
			}
		}
	}()
	for {
		m, err := stream.Recv()
		switch {
		case err != nil && context.Cause(ctx) != nil:
			return "", context.Cause(ctx)
		case errors.Is(err, io.EOF):
			return "", fmt.Errorf("%w: the plugin ended without a result", media.ErrEngine)
		case err != nil:
			return "", fromStatus(ctx, err)
		case m.GetFinal():
			return media.Plain(m.GetText()), nil
		}
		if err := emit(media.Plain(m.GetText())); err != nil {
			return "", err
		}
	}
}

// Speak implements Engine.
func (h *Host) Speak(ctx context.Context, s media.Speech, emit func(media.Sound) error) error {
	rpc, err := h.client(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := rpc.Speak(ctx, &outriderv1.SpeakRequest{Text: s.Text, Language: s.Language, Voice: s.Voice, Speed: float32(s.Speed)})
	if err != nil {
		return fromStatus(ctx, err)
	}
	for {
		m, err := stream.Recv()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fromStatus(ctx, err)
		case m.GetRate() < 4000 || m.GetRate() > 192000:
			return fmt.Errorf("%w: the plugin speaks with %d samples a second", media.ErrEngine, m.GetRate())
		}
		if err := emit(media.Sound{Rate: int(m.GetRate()), PCM: media.Samples(m.GetPcm())}); err != nil {
			return err
		}
	}
}

// Read implements Engine.
func (h *Host) Read(ctx context.Context, q media.Question) (media.Page, error) {
	rpc, err := h.client(ctx)
	if err != nil {
		return media.Page{}, err
	}
	r, err := rpc.Read(ctx, &outriderv1.ReadRequest{Image: q.Image, Language: q.Language, Question: q.Text})
	if err != nil {
		return media.Page{}, fromStatus(ctx, err)
	}
	p := media.Page{Text: media.Plain(r.GetText()), Confidence: float64(r.GetConfidence())}
	for _, b := range r.GetBarcodes() {
		p.Barcodes = append(p.Barcodes, media.Barcode{Kind: media.Plain(b.GetKind()), Text: media.Plain(b.GetText())})
	}
	return p, nil
}

// Close ends the plugin and returns when it is gone. There may be no host.
func (h *Host) Close() error {
	if h == nil {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	if h.run != nil {
		h.run.Stop()
		h.run = nil
	}
	return nil
}
