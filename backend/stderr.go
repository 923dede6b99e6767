package backend

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
)

const (
	maxLine  = 16 << 10 // the rest of a longer line is dropped
	tailSize = 4        // lines kept for the error that says why a plugin died
)

// lineLog is an io.Writer that turns a plugin's stderr into log records and remembers the last lines.
type lineLog struct {
	log *slog.Logger

	mu       sync.Mutex
	buf      []byte
	tail     []string
	panicked bool
}

// Write never fails.
func (l *lineLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(p)
	for {
		i := bytes.IndexByte(p, '\n')
		part := p
		if i >= 0 {
			part = p[:i]
		}
		l.buf = append(l.buf, part[:min(len(part), maxLine-len(l.buf))]...)
		if i < 0 {
			return n, nil
		}
		l.line(strings.ToValidUTF8(strings.TrimSpace(string(l.buf)), "?"))
		l.buf, p = l.buf[:0], p[i+1:]
	}
}

// last returns the last lines in one.
func (l *lineLog) last() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return oneLine(strings.Join(l.tail, " | "))
}

func (l *lineLog) line(s string) {
	if s == "" {
		return
	}
	level, msg, attrs := l.parse(s)
	// Of a panic the first lines say what happened; the rest is the goroutines' stacks.
	if len(l.tail) < tailSize || !l.panicked {
		l.tail = append(l.tail, msg)
		if len(l.tail) > tailSize {
			l.tail = slices.Delete(l.tail, 0, len(l.tail)-tailSize)
		}
	}
	l.log.LogAttrs(context.Background(), level, msg, attrs...)
}

// parse finds the level of a line: JSON as slog or hclog write it, a "[WARN]" within, or a crash.
// Engines in C++ are talkative, so plain lines are for debugging.
func (l *lineLog) parse(s string) (slog.Level, string, []slog.Attr) {
	if s[0] == '{' {
		if level, msg, attrs, ok := parseJSON(s); ok {
			return level, msg, attrs
		}
	}
	if !l.panicked && dying(s) {
		l.panicked, l.tail = true, nil
	}
	if l.panicked {
		return slog.LevelError, s, nil
	}
	head := s[:min(len(s), 60)]
	for _, level := range []slog.Level{slog.LevelError, slog.LevelWarn, slog.LevelInfo, slog.LevelDebug} {
		if strings.Contains(head, "["+level.String()+"]") {
			return level, s, nil
		}
	}
	return slog.LevelDebug, s, nil
}

// dying recognises the first line that a process writes when it crashes: Go's, the C++ runtime's, ggml's.
func dying(s string) bool {
	for _, start := range []string{"panic: ", "fatal error: ", "terminate called ", "SIGABRT: ", "SIGSEGV: ", "SIGBUS: ", "SIGFPE: "} {
		if strings.HasPrefix(s, start) {
			return true
		}
	}
	return strings.Contains(s, "GGML_ASSERT(")
}

func parseJSON(s string) (slog.Level, string, []slog.Attr, bool) {
	var m map[string]any
	if json.Unmarshal([]byte(s), &m) != nil {
		return 0, "", nil, false
	}
	take := func(keys ...string) string {
		var v string
		for _, k := range keys {
			if x, ok := m[k].(string); ok && v == "" {
				v = x
			}
			delete(m, k)
		}
		return v
	}
	msg := take("msg", "@message")
	level := slog.LevelDebug
	switch name := strings.ToUpper(take("level", "@level")); name {
	case "TRACE":
	default:
		if level.UnmarshalText([]byte(name)) != nil {
			return 0, "", nil, false
		}
	}
	take("time", "@timestamp")
	var attrs []slog.Attr
	for k, v := range m {
		attrs = append(attrs, slog.String(k, fmt.Sprint(v)))
	}
	slices.SortFunc(attrs, func(a, b slog.Attr) int { return strings.Compare(a.Key, b.Key) })
	return level, msg, attrs, true
}
