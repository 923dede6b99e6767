package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// loadingQuiet is how long a model may load before anything is said about it.
const loadingQuiet = time.Second

// loading reports how far a model is loaded: in a line at the foot of the terminal, else by a log
// record for each tenth.
type loading struct {
	model string
	log   *slog.Logger
	now   func() time.Time

	began time.Time // of this load; zero before the first report
	last  float32
	tenth int
}

func newLoading(model string, log *slog.Logger) *loading {
	return &loading{model: model, log: log, now: time.Now}
}

// report takes 0 to 1. A plugin that was restarted begins again.
func (l *loading) report(done float32) {
	now := l.now()
	if l.began.IsZero() || done < l.last {
		l.began, l.tenth = now, 0
	}
	l.last = done
	foot := footOf(l.log)
	if done >= 1 {
		l.began = time.Time{}
		foot.set("")
		return
	}
	if now.Sub(l.began) < loadingQuiet {
		return
	}
	if foot != nil {
		const width = 20
		full := int(done * width)
		foot.set(fmt.Sprintf("loading %s  %3.0f %% [%s%s]", l.model, done*100, strings.Repeat("#", full), strings.Repeat(".", width-full)))
		return
	}
	if n := int(done * 10); n > l.tenth {
		l.tenth = n
		l.log.Info("the model is loading", "model", l.model, "percent", 10*n)
	}
}

// console is a log handler for a terminal: records come above a foot line that changes in place.
type console struct {
	slog.Handler
	foot *foot
}

// foot is the last line of a terminal. A nil foot shows nothing.
type foot struct {
	mu   sync.Mutex
	w    io.Writer
	text string
}

// footOf returns the foot of the terminal that a logger writes to, nil when it is none.
func footOf(log *slog.Logger) *foot {
	if c, ok := log.Handler().(console); ok {
		return c.foot
	}
	return nil
}

// eraseLine moves to the beginning of a terminal's line and empties it.
const eraseLine = "\r\x1b[K"

// set shows a text instead of the one before, or none.
func (f *foot) set(text string) {
	if f == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if text != f.text {
		f.text = text
		_, _ = io.WriteString(f.w, eraseLine+text) // there is nobody to tell
	}
}

// Handle implements slog.Handler.
func (c console) Handle(ctx context.Context, r slog.Record) error {
	c.foot.mu.Lock()
	defer c.foot.mu.Unlock()
	if c.foot.text == "" {
		return c.Handler.Handle(ctx, r)
	}
	_, _ = io.WriteString(c.foot.w, eraseLine) // as above
	err := c.Handler.Handle(ctx, r)
	_, _ = io.WriteString(c.foot.w, c.foot.text)
	return err
}

// WithAttrs implements slog.Handler.
func (c console) WithAttrs(a []slog.Attr) slog.Handler {
	return console{c.Handler.WithAttrs(a), c.foot}
}

// WithGroup implements slog.Handler.
func (c console) WithGroup(name string) slog.Handler {
	return console{c.Handler.WithGroup(name), c.foot}
}
