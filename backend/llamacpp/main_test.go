//go:build verify

package llamacpp

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/hybridgroup/yzma/pkg/llama"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/backend/llamacpp/library"
	"github.com/outrider-llm/outrider/speculative"
	"github.com/outrider-llm/outrider/tokenizer"
)

// The tests have a tag of their own because the package's dependency ends the process where libffi is
// missing, and `go test ./...` is to pass on a machine with nothing but Go.

// The test binary is its own plugin.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "plugin" {
		backend.Serve(Load)
		return
	}
	goleak.VerifyTestMain(m)
}

var install = sync.OnceValues(func() (string, error) {
	dir := filepath.Join(os.TempDir(), "outrider-test-llamacpp")
	f, err := library.Install(context.Background(), library.Request{Dir: dir})
	return f.Dir, err
})

// libraries returns the folder of llama.cpp, installing it when OUTRIDER_VERIFY is set, or skips.
func libraries(t testing.TB) string {
	t.Helper()
	if f, err := library.Host().Find(""); err == nil {
		return f.Dir
	}
	if os.Getenv("OUTRIDER_VERIFY") == "" {
		t.Skipf("llama.cpp is not installed: run `outrider install llamacpp`, set %s, or set OUTRIDER_VERIFY=1 to fetch it", library.EnvVariable)
	}
	dir, err := install()
	if errors.Is(err, library.ErrNoNPM) || errors.Is(err, library.ErrDownload) || errors.Is(err, library.ErrNoPackage) {
		t.Skipf("llama.cpp cannot be fetched here: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// options makes options of key, value, ...; one thread unless said otherwise.
func makeOptions(t testing.TB, opts ...string) map[string]string {
	t.Helper()
	o := map[string]string{"lib": libraries(t), "threads": "1"}
	for i := 0; i < len(opts); i += 2 {
		o[opts[i]] = opts[i+1]
	}
	return o
}

func engine(t testing.TB, model string, opts ...string) *Engine {
	t.Helper()
	m, err := Load(t.Context(), model, makeOptions(t, opts...), nil)
	if err != nil {
		t.Fatal(err)
	}
	e := m.(*Engine)
	t.Cleanup(func() { _ = e.Close() })
	return e
}

func tokens(t testing.TB, model, text string) []backend.Token {
	t.Helper()
	d, err := describe(model)
	if err != nil {
		t.Fatal(err)
	}
	return d.tok.Encode(text, tokenizer.Options{AddBOS: true})
}

// forward runs one segment that must succeed.
func forward(t testing.TB, e *Engine, s backend.Segment) []speculative.Choice {
	t.Helper()
	r, err := e.Forward(context.Background(), []backend.Segment{s})
	if err != nil {
		t.Fatal(err)
	}
	if r[0].Err != nil {
		t.Fatal(r[0].Err)
	}
	audit(t, e)
	return r[0].Choices
}

// draft collects what Draft emits.
func draft(t testing.TB, e backend.Model, r backend.DraftRequest) []backend.Token {
	t.Helper()
	var out []backend.Token
	err := e.Draft(context.Background(), r, func(c speculative.Choice) bool {
		out = append(out, c.Token)
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// audit compares the engine's books with llama.cpp's.
func audit(t testing.TB, e *Engine) {
	t.Helper()
	used, ids, branches := 0, len(e.freeIDs), len(e.freeBranches)
	for name, s := range e.sequences {
		used += s.held()
		ids++
		branches += len(s.branches)
		last := s.rows - 1
		if s.tree != nil {
			last += int(s.tree.depth[s.tree.leaves[0]]) + 1
		}
		if got, err := llama.MemorySeqPosMax(e.memory, s.id); err != nil || int(got) != last || s.pending != 0 {
			t.Fatalf("sequence %d: llama.cpp holds up to position %d, should be %d (%v)", name, got, last, err)
		}
	}
	if used != e.used || ids != e.options.sequences || branches != int(llama.MaxParallelSequences())-e.options.sequences {
		t.Fatalf("%d rows in the books, %d held; %d ids, %d branches", e.used, used, ids, branches)
	}
	for _, id := range append(e.freeIDs, e.freeBranches...) {
		if got, err := llama.MemorySeqPosMax(e.memory, id); err != nil || got != -1 {
			t.Fatalf("free id %d holds rows up to %d (%v)", id, got, err)
		}
	}
}

var greedy = &backend.Setup{}
