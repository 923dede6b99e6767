package llamacpp

import (
	"context"
	"log/slog"
	"strings"
	"sync"

	"github.com/hybridgroup/yzma/pkg/llama"
	"github.com/hybridgroup/yzma/pkg/utils"
)

// logs receives what llama.cpp logs, hands it to slog and remembers the errors, which are all that
// it says about why a call failed.
type logs struct {
	mu     sync.Mutex
	line   strings.Builder
	level  llama.LogLevel
	errors []string
}

// maxErrors bounds what is remembered.
const maxErrors = 8

// write has the signature of ggml_log_callback.
func (l *logs) write(level int32, text *byte, _ uintptr) uintptr {
	if text == nil {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if v := llama.LogLevel(level); v != llama.LogLevelContinue {
		l.flush()
		l.level = v
	}
	s := utils.BytePtrToString(text)
	l.line.WriteString(s)
	if strings.HasSuffix(s, "\n") {
		l.flush()
	}
	return 0
}

// flush ends a line.
func (l *logs) flush() {
	s := strings.TrimSpace(l.line.String())
	l.line.Reset()
	if strings.Trim(s, ".") == "" { // nothing, or a bar of dots
		return
	}
	level := slog.LevelDebug // what llama.cpp calls information is a page per model
	switch l.level {
	case llama.LogLevelWarn:
		level = slog.LevelInfo // such as a cache larger than one context
	case llama.LogLevelError:
		level = slog.LevelError
		if len(l.errors) < maxErrors {
			l.errors = append(l.errors, s)
		}
	}
	slog.Default().Log(context.Background(), level, s, "from", "llama.cpp")
}

// take returns and forgets the errors so far, as one line.
func (l *logs) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.flush()
	s := strings.Join(l.errors, "; ")
	l.errors = nil
	return s
}
