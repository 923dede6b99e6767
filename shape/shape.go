// Package shape decides what somebody who sees sizes and times of packets, not their content, is to see of a stream:
// frames of few sizes, and with a cadence one of them per tick, whether or not there is something to say. Sizes and times
// of speculative decoding tell which drafts were accepted, and so what was said (arXiv 2411.01076).
package shape

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	outriderv1 "github.com/outrider-llm/outrider/proto/outrider/v1"
)

// ErrShape is wrapped by the errors of this package.
var ErrShape = errors.New("frames")

// Bounds on what a stream costs while nothing is said, and on what one side can ask of the other.
const (
	MinSize  = 32      // bytes of a frame
	MaxSize  = 4 << 10 //
	maxSizes = 8
	minEvery = 2 * time.Millisecond
	maxEvery = time.Second
	MaxRate  = 256 << 10 // bytes per second each way, with a cadence
)

// Shape says how a stream looks. The zero value leaves it as it is.
type Shape struct {
	Sizes []int         // of frames in bytes, rising
	Every time.Duration // each side sends one frame, of the only size, per so long; 0: when it has something to say
}

// Forms is what Parse reads, for messages.
const Forms = "off, buckets, or sizes of frames in bytes such as 256 or 64,256,1024"

// buckets are sizes that fit what is said: proposals and commits have 10 to 60 bytes, with alternatives' probabilities hundreds.
var buckets = [...]int{64, 128, 256, 512, 1024}

// cadenceSize holds nearly everything that is said between two ticks.
const cadenceSize = 128

// Parse reads the settings padding and cadence. With a cadence and no padding frames have 128 bytes.
func Parse(padding string, cadence time.Duration) (Shape, error) {
	s := Shape{Every: cadence}
	switch padding {
	case "", "off":
		if cadence == 0 {
			return s, nil
		}
		s.Sizes = []int{cadenceSize}
	case "buckets":
		s.Sizes = slices.Clone(buckets[:])
	default:
		for f := range strings.SplitSeq(padding, ",") {
			n, err := strconv.Atoi(strings.TrimSpace(f))
			if err != nil {
				return Shape{}, fmt.Errorf("%w: padding is %q, must be %s", ErrShape, padding, Forms)
			}
			s.Sizes = append(s.Sizes, n)
		}
	}
	return s, s.Validate()
}

// On says whether anything is to be shaped.
func (s Shape) On() bool { return len(s.Sizes) > 0 }

// Validate says whether sizes and cadence are within bounds.
func (s Shape) Validate() error {
	n := len(s.Sizes)
	switch {
	case n == 0 && s.Every == 0:
		return nil
	case n == 0 || n > maxSizes:
		return fmt.Errorf("%w: %d sizes, must be 1 to %d", ErrShape, n, maxSizes)
	case s.Every != 0 && (s.Every < minEvery || s.Every > maxEvery):
		return fmt.Errorf("%w: a cadence of %s, must be off (0) or between %s and %s", ErrShape, s.Every, minEvery, maxEvery)
	case s.Every != 0 && n != 1:
		return fmt.Errorf("%w: %d sizes with a cadence, which needs one: all frames look alike then", ErrShape, n)
	}
	for i, size := range s.Sizes {
		if size < MinSize || size > MaxSize || i > 0 && size <= s.Sizes[i-1] {
			return fmt.Errorf("%w: sizes %v, must rise between %d and %d bytes", ErrShape, s.Sizes, MinSize, MaxSize)
		}
	}
	if s.Every != 0 && float64(s.Sizes[0])/s.Every.Seconds() > MaxRate {
		return fmt.Errorf("%w: %d bytes each %s are more than %d KiB/s: choose smaller frames or a longer cadence", ErrShape, s.Sizes[0], s.Every, MaxRate>>10)
	}
	return nil
}

// Size is that of the frame for n bytes: the least that holds them, else the largest.
func (s Shape) Size(n int) int {
	i, _ := slices.BinarySearch(s.Sizes, n)
	return s.Sizes[min(i, len(s.Sizes)-1)]
}

// Multiple is the frame for n bytes that cannot be cut: the least that holds them, else a multiple of the largest.
func (s Shape) Multiple(n int) int {
	size := s.Size(n)
	return (max(n, 1) + size - 1) / size * size
}

// String is what Parse reads, with the cadence behind it.
func (s Shape) String() string {
	if !s.On() {
		return "off"
	}
	b := strings.Trim(strings.ReplaceAll(fmt.Sprint(s.Sizes), " ", ","), "[]")
	if s.Every > 0 {
		b += " each " + s.Every.String()
	}
	return b
}

// ToProto converts a shape for the wire; none is nil.
func (s Shape) ToProto() *outriderv1.Shape {
	if !s.On() {
		return nil
	}
	m := &outriderv1.Shape{EveryUs: uint32(s.Every.Microseconds())}
	for _, n := range s.Sizes {
		m.Sizes = append(m.Sizes, uint32(n))
	}
	return m
}

// FromProto converts and checks what came over the wire.
func FromProto(m *outriderv1.Shape) (Shape, error) {
	if m == nil {
		return Shape{}, nil
	}
	s := Shape{Every: time.Duration(m.GetEveryUs()) * time.Microsecond}
	if len(m.GetSizes()) == 0 || len(m.GetSizes()) > maxSizes {
		return Shape{}, fmt.Errorf("%w: %d sizes, must be 1 to %d", ErrShape, len(m.GetSizes()), maxSizes)
	}
	for _, n := range m.GetSizes() {
		s.Sizes = append(s.Sizes, int(min(n, MaxSize+1)))
	}
	if err := s.Validate(); err != nil {
		return Shape{}, err
	}
	return s, nil
}
