package shape

import (
	"encoding/binary"
	"fmt"
	"math/bits"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// Writer puts messages into frames: a sequence of messages, each behind its length, cut wherever a frame is full;
// lengths of 0 fill up the rest. It is owned by one goroutine.
type Writer struct {
	shape   Shape
	pending []byte
}

// NewWriter makes one; the shape must be on.
func NewWriter(s Shape) *Writer { return &Writer{shape: s} }

// Add queues a message.
func (w *Writer) Add(m proto.Message) error {
	w.pending = binary.AppendUvarint(w.pending, uint64(proto.Size(m)))
	var err error
	w.pending, err = proto.MarshalOptions{UseCachedSize: true}.MarshalAppend(w.pending, m)
	return err
}

// Pending is how many bytes wait.
func (w *Writer) Pending() int { return len(w.pending) }

// Frame is the next frame; with nothing pending it is all filling.
func (w *Writer) Frame() []byte {
	frame := make([]byte, w.shape.Size(len(w.pending)))
	n := copy(frame, w.pending)
	if w.pending = w.pending[n:]; len(w.pending) == 0 {
		w.pending = nil
	}
	return frame
}

// Reader takes messages out of frames. It is owned by one goroutine.
type Reader struct {
	limit   int // bytes of a message
	pending []byte
}

// NewReader bounds messages, and so what is held, to limit bytes and one frame.
func NewReader(limit int) *Reader { return &Reader{limit: limit} }

// Add takes a frame; after an error, which wraps ErrShape, the stream is unusable.
func (r *Reader) Add(frame []byte) error {
	if len(frame) > MaxSize {
		return fmt.Errorf("%w: one of %d bytes, at most %d are allowed", ErrShape, len(frame), MaxSize)
	}
	r.pending = append(r.pending, frame...)
	return nil
}

// Next is the next whole message, valid until Add; false when there is none yet.
func (r *Reader) Next() ([]byte, bool, error) {
	for len(r.pending) > 0 {
		size, n := binary.Uvarint(r.pending)
		switch {
		case n < 0 || n > 0 && size > uint64(r.limit):
			return nil, false, fmt.Errorf("%w: a message of %d bytes, at most %d are allowed", ErrShape, size, r.limit)
		case n == 0, size > uint64(len(r.pending)-n):
			return nil, false, nil
		}
		m := r.pending[n : n+int(size)]
		if r.pending = r.pending[n+int(size):]; size > 0 {
			return m, true, nil
		}
	}
	r.pending = nil
	return nil, false, nil
}

const (
	minOpening = 1 << 10
	// MaxOpening bounds what Opening adds. Up to here first messages are as long as the next power of two, then as the next multiple.
	MaxOpening = 16 << 10
)

// Opening is the padding that makes a first message of size bytes as long as others, which hold more or less. tag is the
// length of the padding field's tag.
func Opening(size, tag int) (padding [][]byte) {
	least := size + tag + 1 // an empty element
	want := max(minOpening, 1<<bits.Len(uint(least-1)))
	if want > MaxOpening {
		want = (least + MaxOpening - 1) / MaxOpening * MaxOpening
	}
	for gap := want - size; gap > 0; {
		n := gap - tag - 1 // behind a length of one byte
		if n > 127 {
			n = gap - tag - 2 // of two
		}
		switch {
		case n == 127 && gap != tag+1+n:
			n = 64 // no element fills this gap, two do
		case n >= 1<<14:
			n = 1 << 13
		}
		padding = append(padding, make([]byte, n))
		gap -= tag + protowire.SizeBytes(n)
	}
	return padding
}
