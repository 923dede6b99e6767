// Package media holds what speech and images are here, and the pure code around them: parsers with
// limits, the voice-activity gate, sentences, and the frame in which untrusted text reaches a model.
// It has no clock, no goroutine and no I/O.
package media

import (
	"encoding/binary"
	"errors"
	"time"
)

// ErrMedia marks media that cannot be used: broken, too large, or of a kind that is not known.
var ErrMedia = errors.New("unusable media")

// ErrMissing marks what an engine cannot do here because something is not installed or set.
var ErrMissing = errors.New("not available")

// ErrEngine marks an engine that failed: its program or server, not what it was given.
var ErrEngine = errors.New("perception failed")

// Rate is the sample rate of speech that engines hear, in Hz.
const Rate = 16000

// Limits on what is taken.
const (
	MaxSound  = 10 * time.Minute // of one recording
	MaxPixels = 40 << 20         // of one image
	MaxImage  = 20 << 20         // bytes of one image file
	MaxSpeech = 4096             // bytes of one text that is spoken, OpenAI's bound in characters
)

// Sound is mono speech.
type Sound struct {
	Rate int // samples per second
	PCM  []int16
}

// Duration of the sound.
func (s Sound) Duration() time.Duration {
	if s.Rate <= 0 {
		return 0
	}
	return time.Duration(len(s.PCM)) * time.Second / time.Duration(s.Rate)
}

// Bytes are the samples, 16-bit little-endian.
func (s Sound) Bytes() []byte {
	b := make([]byte, 0, 2*len(s.PCM))
	for _, v := range s.PCM {
		b = binary.LittleEndian.AppendUint16(b, uint16(v))
	}
	return b
}

// Samples reads 16-bit little-endian samples; an odd byte at the end is dropped.
func Samples(b []byte) []int16 {
	out := make([]int16, len(b)/2)
	for i := range out {
		out[i] = int16(binary.LittleEndian.Uint16(b[2*i:]))
	}
	return out
}

// Speech is a text to say.
type Speech struct {
	Text     string
	Language string  // ISO 639-1; empty: the engine's own
	Voice    string  // empty: the engine's own
	Speed    float64 // 1 is normal, 0 too
}

// Question is an image and what is to be found out.
type Question struct {
	Image    []byte // PNG, JPEG or GIF
	Language string
	Text     string // for engines that understand pictures
}

// Page is what was found in an image.
type Page struct {
	Text       string
	Confidence float64 // 0 to 1; 0: not known
	Barcodes   []Barcode
}

// Barcode is a code found in an image.
type Barcode struct{ Kind, Text string }

// Abilities says what an engine can do here, and what is missing.
type Abilities struct {
	Engine      string
	Transcribes bool
	Speaks      bool
	Reads       bool
	Missing     []string // one line each: what, and how to get it
}
