package perception

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/perception/media"
)

// TestMain is also the plugin: the host runs this binary again.
func TestMain(m *testing.M) {
	if os.Getenv(backend.CookieKey) != "" {
		Serve(func(o map[string]string) (Engine, error) {
			if o["refuse"] != "" {
				return nil, fmt.Errorf("%w: no option refuse", media.ErrMedia)
			}
			return toy{}, nil
		})
		return
	}
	goleak.VerifyTestMain(m)
}

// toy is an engine whose answers tell what it was given.
type toy struct{}

func (toy) Abilities() media.Abilities {
	return media.Abilities{Engine: "toy", Transcribes: true, Speaks: true, Missing: []string{"eyes"}}
}

func (toy) Transcribe(_ context.Context, language string, next func() ([]byte, error), emit func(string) error) (string, error) {
	n := 0
	for {
		b, err := next()
		if errors.Is(err, io.EOF) {
			return fmt.Sprintf("%s %d\x1b", language, n), nil
		}
		if err != nil {
			return "", err
		}
		n += len(b)
		if err := emit(fmt.Sprint(n)); err != nil {
			return "", err
		}
	}
}

func (toy) Speak(ctx context.Context, s media.Speech, emit func(media.Sound) error) error {
	if s.Text == "hang" {
		<-ctx.Done()
		return ctx.Err()
	}
	if s.Text == "panic" {
		panic(s.Text)
	}
	return emit(media.Sound{Rate: 8000, PCM: make([]int16, 200000)})
}

func (toy) Read(context.Context, media.Question) (media.Page, error) {
	return media.Page{}, fmt.Errorf("%w: no eyes", media.ErrMissing)
}

func launch(t *testing.T) *Host {
	t.Helper()
	h, err := Launch(t.Context(), backend.HostConfig{Name: "perception"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

func chunks(n int) func() ([]byte, error) {
	return func() ([]byte, error) {
		if n--; n < 0 {
			return nil, io.EOF
		}
		return make([]byte, 1000), nil
	}
}

func TestHost(t *testing.T) {
	h := launch(t)
	if a := h.Abilities(); a.Engine != "toy" || !a.Speaks || a.Reads || len(a.Missing) != 1 {
		t.Errorf("%+v", a)
	}
	partial := 0
	text, err := h.Transcribe(t.Context(), "en", chunks(5), func(string) error { partial++; return nil })
	if err != nil || text != "en 5000" || partial != 5 {
		t.Errorf("%q %d %v", text, partial, err)
	}
	n := 0
	if err := h.Speak(t.Context(), media.Speech{Text: "hello"}, func(s media.Sound) error { n += len(s.PCM); return nil }); err != nil || n != 200000 {
		t.Error(n, err)
	}
	if _, err := h.Read(t.Context(), media.Question{}); !errors.Is(err, media.ErrMissing) || err.Error() != "not available: no eyes" {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := h.Speak(ctx, media.Speech{Text: "hang"}, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	stop := errors.New("stop")
	if _, err := h.Transcribe(t.Context(), "", func() ([]byte, error) { return nil, stop }, nil); !errors.Is(err, stop) {
		t.Error(err)
	}
	if _, err := h.Transcribe(t.Context(), "", chunks(3), func(string) error { return stop }); !errors.Is(err, stop) {
		t.Error(err)
	}
}

func TestHostRestarts(t *testing.T) {
	h := launch(t)
	for _, end := range []func(){
		func() { _ = h.Speak(t.Context(), media.Speech{Text: "panic"}, nil) },
		func() { kill(h.PID()) },
	} {
		time.Sleep(minLife)
		end()
		var err error
		for begun := time.Now(); time.Since(begun) < 10*time.Second; time.Sleep(50 * time.Millisecond) {
			if _, err = h.Transcribe(t.Context(), "", chunks(1), func(string) error { return nil }); err == nil {
				break
			}
		}
		if err != nil {
			t.Error(err)
		}
	}
	h.Close()
	if _, err := h.Transcribe(t.Context(), "", chunks(1), nil); !errors.Is(err, media.ErrEngine) {
		t.Error(err)
	}
	if h, err := Launch(t.Context(), backend.HostConfig{Options: map[string]string{"refuse": "yes"}}); !errors.Is(err, media.ErrMedia) {
		t.Error(h, err)
	}
}

func kill(pid int) {
	if p, err := os.FindProcess(pid); err == nil {
		_ = p.Kill()
	}
}
