package openai

import (
	"bytes"
	"encoding/json"
	"net/http"
	"sync"
	"time"
)

// stream writes server-sent events. Until the first one the answer may still become an error with a
// status of its own; a stream on which nothing happens says so with comments. Safe for concurrent use.
type stream struct {
	w         http.ResponseWriter
	rc        *http.ResponseController
	timeout   time.Duration // of one write; a client that reads slower is given up
	heartbeat time.Duration

	mu    sync.Mutex
	timer *time.Timer
	begun bool
	over  bool
	err   error // of the first write that failed
	buf   bytes.Buffer
}

func newStream(w http.ResponseWriter, heartbeat, timeout time.Duration) *stream {
	s := &stream{w: w, rc: http.NewResponseController(w), timeout: timeout, heartbeat: heartbeat}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.timer = time.AfterFunc(heartbeat, s.beat)
	return s
}

func (s *stream) beat() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.over {
		s.write([]byte(": still at work\n\n"))
	}
}

// write sends bytes at once; s.mu is held.
func (s *stream) write(b []byte) {
	if s.err != nil || s.over {
		return
	}
	if !s.begun {
		h := s.w.Header()
		h.Set("Content-Type", "text/event-stream")
		h.Set("Cache-Control", "no-cache, no-transform")
		h.Set("X-Accel-Buffering", "no") // nginx would gather the events
		s.w.WriteHeader(http.StatusOK)
		s.begun = true
	}
	_ = s.rc.SetWriteDeadline(time.Now().Add(s.timeout)) // without one only this client can hang
	if _, s.err = s.w.Write(b); s.err == nil {
		s.err = s.rc.Flush()
	}
	s.timer.Reset(s.heartbeat)
}

// send writes an event; name may be empty.
func (s *stream) send(name string, v any) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.buf.Reset()
	if name != "" {
		s.buf.WriteString("event: " + name + "\n")
	}
	s.buf.WriteString("data: ")
	if err := encode(&s.buf, v); err != nil { // ends the line
		return err
	}
	s.buf.WriteByte('\n')
	s.write(s.buf.Bytes())
	return s.err
}

// encode writes JSON and the end of the line. Nothing here is read as HTML, so < stays <.
func encode(b *bytes.Buffer, v any) error {
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// done ends a stream of chat completions.
func (s *stream) done() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.write([]byte("data: [DONE]\n\n"))
}

// fail ends the answer with an error: the whole answer when nothing was sent, else an event.
func (s *stream) fail(e *apiError, event func(*apiError) (string, any)) {
	s.mu.Lock()
	begun := s.begun
	if !begun {
		s.over = true
	}
	s.mu.Unlock()
	if !begun {
		e.write(s.w)
		return
	}
	name, v := event(e)
	_ = s.send(name, v) // a client that is gone needs no answer
}

// close stops the heartbeat; nothing is written afterwards.
func (s *stream) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	s.timer.Stop()
}
