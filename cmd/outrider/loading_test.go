package main

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// plainText logs without times.
func plainText(b *bytes.Buffer) slog.Handler {
	return slog.NewTextHandler(b, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey || a.Key == slog.LevelKey {
			return slog.Attr{}
		}
		return a
	}})
}

// reportAll reports 0 to 1 in steps of a hundredth, each of which takes a time.
func reportAll(l *loading, step time.Duration) {
	now := time.Unix(0, 0)
	l.now = func() time.Time { now = now.Add(step); return now }
	for i := range 101 {
		l.report(float32(i) / 100)
	}
}

func TestLoadingIsLogged(t *testing.T) {
	var b bytes.Buffer
	l := newLoading("target big", slog.New(plainText(&b)))
	reportAll(l, 9*time.Millisecond)
	if b.Len() > 0 {
		t.Fatalf("a quick one is not worth a line: %s", &b)
	}
	for range 2 { // again after the plugin was restarted
		b.Reset()
		reportAll(l, time.Second)
		if lines := strings.Split(strings.TrimSpace(b.String()), "\n"); len(lines) != 9 || lines[4] != `msg="the model is loading" model="target big" percent=50` {
			t.Fatalf("%s", &b)
		}
	}
}

func TestLoadingOnATerminal(t *testing.T) {
	var b bytes.Buffer
	log := slog.New(console{plainText(&b), &foot{w: &b}})
	l := newLoading("draft", log.With("a", 1).WithGroup("g"))
	reportAll(l, 0)
	if b.Len() > 0 {
		t.Fatalf("%q", &b)
	}
	now := time.Unix(0, 0)
	l.now = func() time.Time { now = now.Add(time.Second); return now }
	l.report(0.1)
	l.report(0.5)
	log.Info("another thing")
	l.report(0.5) // nothing new
	l.report(1)
	line := "loading draft   50 % [##########..........]"
	want := eraseLine + line + eraseLine + "msg=\"another thing\"\n" + line + eraseLine
	if b.String() != want {
		t.Fatalf("%q\nwant\n%q", b.String(), want)
	}
	log.Info("after it")
	if got := strings.TrimPrefix(b.String(), want); got != "msg=\"after it\"\n" {
		t.Fatalf("%q", got)
	}
}
