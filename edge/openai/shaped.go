package openai

import (
	"net/http"
	"time"

	"github.com/outrider-llm/outrider/shape"
)

// stream begins an answer of server-sent events.
func (s *server) stream(w http.ResponseWriter) *stream {
	out := newStream(w, s.c.Heartbeat, s.c.WriteTimeout)
	out.shape = s.c.Shape
	return out
}

// maxPending is how much waits for its tick at most; more holds the answer up, and so in the end the cloud.
const maxPending = 16 << 10

// shaped sends events as Config.Shape wants it: events' ends are lines of comment, which every reader skips. s.mu is held.
func (s *stream) shaped(b []byte) {
	if s.shape.Every == 0 {
		s.put(fill(b, s.shape.Multiple(len(b))))
		return
	}
	if s.ticked == nil {
		s.ticked, s.stop = make(chan struct{}), make(chan struct{})
		go s.tick()
	}
	s.pending = append(s.pending, b...)
	for len(s.pending) > maxPending && s.err == nil && !s.over {
		s.taken.Wait()
	}
}

// tick writes one frame per tick until stop: what waits, as far as it fits, or comment.
func (s *stream) tick() {
	defer close(s.ticked)
	t := time.NewTicker(s.shape.Every)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-s.stop:
			return
		}
		s.mu.Lock()
		size := s.shape.Sizes[0]
		n := min(size, len(s.pending))
		s.put(fill(s.pending[:n:n], size))
		if s.pending = s.pending[n:]; len(s.pending) == 0 {
			s.pending = nil
		}
		s.taken.Broadcast()
		s.mu.Unlock()
	}
}

// drain waits until what is pending has been sent; s.mu is held.
func (s *stream) drain() {
	for len(s.pending) > 0 && s.err == nil {
		s.taken.Wait()
	}
}

// fill puts a comment behind whole events, up to size bytes. A full frame may end within an event.
func fill(b []byte, size int) []byte {
	n := size - len(b)
	if n <= 0 {
		return b
	}
	out := make([]byte, size)
	copy(out, b)
	for i := len(b); i < size; i++ {
		out[i] = '.'
	}
	out[size-1] = '\n'
	if n > 1 {
		out[len(b)] = ':'
	}
	return out
}

// eventSizes: an event of a chat is JSON of 200 to 300 bytes around a token.
const eventSizes = 8

// Events is the shape of server-sent events that fits one of frames.
func Events(s shape.Shape) shape.Shape {
	out := shape.Shape{Every: s.Every}
	for _, n := range s.Sizes {
		out.Sizes = append(out.Sizes, n*eventSizes)
	}
	return out
}
