// Package perception gives the edge ears, a voice and eyes: speech to text, text to speech, text in
// images, by a plugin process. Media stays on this device; only texts leave this room.
package perception

import (
	"context"

	"github.com/outrider-llm/outrider/perception/media"
)

// Engine perceives. Errors wrap media.ErrMedia (what was given cannot be used), media.ErrMissing (not installed or set),
// media.ErrEngine or the context's error. Safe for concurrent use.
type Engine interface {
	Abilities() media.Abilities
	// Transcribe hears what next gives, 16-bit little-endian at media.Rate, until io.EOF; emit gets all that was recognised
	// so far, the result is the whole.
	Transcribe(ctx context.Context, language string, next func() ([]byte, error), emit func(text string) error) (string, error)
	// Speak emits samples as they are made.
	Speak(ctx context.Context, s media.Speech, emit func(media.Sound) error) error
	Read(ctx context.Context, q media.Question) (media.Page, error)
}

// Opener makes an engine with options.
type Opener func(options map[string]string) (Engine, error)
