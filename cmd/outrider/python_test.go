package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/models"
	"github.com/outrider-llm/outrider/speculative"
)

// pythonPlugin makes a virtual environment with what examples/python-transformers needs, and two tiny models; it
// returns the interpreter and the example's folder. OUTRIDER_PYTHON names an interpreter that has it all.
func pythonPlugin(t *testing.T) (python, example string) {
	t.Helper()
	if !verifying() {
		t.Skip("installs Python packages: make verify")
	}
	example, err := filepath.Abs(filepath.Join("..", "..", "examples", "python-transformers"))
	if err != nil {
		t.Fatal(err)
	}
	if python = os.Getenv("OUTRIDER_PYTHON"); python != "" {
		_ = os.Unsetenv("OUTRIDER_PYTHON") // with its prefix it would be a setting
		return python, example
	}
	system := "/usr/bin/python3" // Debian's, which sees its python3-torch
	if out, err := exec.Command(system, "-c", "import torch").CombinedOutput(); err != nil {
		t.Skipf("%s has no torch (Debian's python3-torch): the Python plugin was not run: %s", system, lastLine(out))
	}
	venv := filepath.Join(t.TempDir(), "venv")
	if out, err := exec.Command(system, "-m", "venv", "--system-site-packages", venv).CombinedOutput(); err != nil {
		t.Skipf("no virtual environment: %s", lastLine(out))
	}
	python = filepath.Join(venv, "bin", "python")
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	if out, err := exec.CommandContext(ctx, python, "-m", "pip", "install", "-q", "-r", filepath.Join(example, "requirements.txt")).CombinedOutput(); err != nil {
		t.Skipf("its packages are not to be had: %v %s", err, lastLine(out))
	}
	return python, example
}

func lastLine(b []byte) string {
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return lines[len(lines)-1]
}

// TestPythonPlugin: the example in Python passes what every engine must: the published vectors, errors per segment, rows that
// can be taken back, drafts, release, and as target and draft of a whole Outrider the target's own text.
func TestPythonPlugin(t *testing.T) {
	python, example := pythonPlugin(t)
	run := func(args ...string) {
		t.Helper()
		c := exec.CommandContext(t.Context(), python, args...)
		c.Dir = example
		c.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1")
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
	}
	run("-m", "unittest")
	tok, err := readTokenizer(models.TargetName)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "tiny")
	run("make_model.py", dir, fmt.Sprint(tok.Size()))
	launch := func(options map[string]string) (*backend.Host, error) {
		return backend.Launch(t.Context(), backend.HostConfig{Name: "python", Command: python, Args: []string{filepath.Join(example, "plugin.py")}, Model: dir,
			Env: []string{"PYTHONDONTWRITEBYTECODE=1"}, Options: options, Logger: slog.New(slog.NewTextHandler(t.Output(), nil)), StartTimeout: time.Minute})
	}
	if _, err := launch(map[string]string{"nonsense": "1"}); !errors.Is(err, backend.ErrLoad) || !strings.Contains(err.Error(), "nonsense") {
		t.Errorf("an unknown option: %v", err)
	}
	h, err := launch(map[string]string{"sequences": "3", "kv_tokens": "200", "context": "100", "vocabulary": tok.Fingerprint()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	t.Run("contract", func(t *testing.T) { pythonContract(t, h) })
	t.Run("whole", func(t *testing.T) { pythonWhole(t, python, example, dir, tok.Fingerprint()) })
}

// segment is a prompt of a new request.
func segment(id backend.Sequence, p speculative.Params, tokens ...backend.Token) backend.Segment {
	return backend.Segment{Sequence: id, Tokens: tokens, From: len(tokens) - 1, Setup: &backend.Setup{Params: p, PromptLength: len(tokens)}}
}

func pythonContract(t *testing.T, m backend.Model) {
	ctx := t.Context()
	one := func(s backend.Segment) []speculative.Choice {
		t.Helper()
		r, err := m.Forward(ctx, []backend.Segment{s})
		if err == nil {
			err = r[0].Err
		}
		if err != nil {
			t.Fatal(err)
		}
		return r[0].Choices
	}
	long := make([]backend.Token, 101)
	r, err := m.Forward(ctx, []backend.Segment{
		segment(1, speculative.Params{}, 5, 6, 7), segment(1, speculative.Params{}, 5), segment(2, speculative.Params{}, 1<<20), {Sequence: 3, Start: 2, Tokens: []backend.Token{1}},
		segment(4, speculative.Params{}, long...), segment(5, speculative.Params{}, long[:90]...), segment(6, speculative.Params{}, long[:90]...), segment(7, speculative.Params{}, long[:90]...),
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []error{nil, backend.ErrInvalid, backend.ErrInvalid, backend.ErrSequenceLost, backend.ErrContextFull, nil, nil, backend.ErrNoMemory} {
		if !errors.Is(r[i].Err, want) {
			t.Errorf("segment %d: %v, want %v", i, r[i].Err, want)
		}
	}
	if err := m.Release(ctx, []backend.Sequence{1, 5, 6}); err != nil {
		t.Fatal(err)
	}
	prompt := []backend.Token{9, 17, 33, 65}
	for name, p := range map[string]speculative.Params{"greedy": {}, "sampled": {Temperature: 1, Seed: 11}, "all": {Temperature: 0.9, TopK: 20, TopP: 0.9, MinP: 0.02, RepetitionPenalty: 1.1, PresencePenalty: 0.2, FrequencyPenalty: 0.1, Seed: 5, LogitBias: map[backend.Token]float32{40: 2}}} {
		log := slices.Clone(prompt)
		next := segment(1, p, prompt...)
		for range 24 { // token by token
			c := one(next)
			next = backend.Segment{Sequence: 1, Start: len(log), Tokens: []backend.Token{c[0].Token}}
			log = append(log, c[0].Token)
		}
		answer := log[len(prompt):]
		all := segment(2, p, log[:len(log)-1]...) // in one pass
		all.From, all.Setup.PromptLength = len(prompt)-1, len(prompt)
		for i, c := range one(all) {
			if c.Token != answer[i] {
				t.Errorf("%s: in one pass token %d is %d, one by one %d", name, i, c.Token, answer[i])
			}
		}
		// Other tokens, then back: rows beyond start are dropped.
		one(backend.Segment{Sequence: 2, Start: len(prompt), Tokens: []backend.Token{3, 3, 3}})
		if c := one(backend.Segment{Sequence: 2, Start: len(prompt), Tokens: answer[:3]}); c[2].Token != answer[3] {
			t.Errorf("%s: after a rollback %d, want %d", name, c[2].Token, answer[3])
		}
		var drafted []backend.Token
		if err := m.Draft(ctx, backend.DraftRequest{Segment: segment(3, p, prompt...), MaxTokens: 12}, func(c speculative.Choice) bool {
			drafted = append(drafted, c.Token)
			return true
		}); err != nil || !slices.Equal(drafted, answer[:len(drafted)]) || len(drafted) == 0 {
			t.Errorf("%s: drafted %v (%v), want %v", name, drafted, err, answer)
		}
		lp := segment(2, p, prompt...)
		lp.Logprobs = 4
		got, err := m.Forward(ctx, []backend.Segment{lp})
		if err != nil || len(got[0].Logprobs) != 1 || len(got[0].Logprobs[0].Top) != 3 {
			t.Errorf("%s: log probabilities %+v %v", name, got, err)
		}
		if err := m.Release(ctx, []backend.Sequence{1, 2, 3}); err != nil {
			t.Fatal(err)
		}
	}
}

// pythonWhole runs cloud and edge with the plugin on both sides; what they say together is what the target says alone.
func pythonWhole(t *testing.T, python, example, dir, vocabulary string) {
	config := filepath.Join(t.TempDir(), "outrider.yaml")
	model := fmt.Sprintf("{model: %q, engine: %q, args: [%q], tokenizer: %s, options: {vocabulary: %q}, read: [%q, %q]}",
		dir, python, filepath.Join(example, "plugin.py"), models.TargetName, vocabulary, example, filepath.Join(example, "..", "..", "proto"))
	if err := os.WriteFile(config, []byte("cloud: {targets: ["+model+"]}\nedge: {draft: "+model+"}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := startStack(t.Context(), stackConfig{config: config, rtt: 20 * time.Millisecond, edgeArgs: []string{"--run-ahead", "0.5"}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.stop()
	together, alone := askEdge(t, s.edge.addr(), "-t", "0.8"), askEdge(t, s.edge.addr(), "-t", "0.8", "--no-draft")
	if together.Text != alone.Text || together.Figures.AcceptanceRate < 0.5 {
		t.Errorf("together %q, acceptance %g; alone %q", together.Text, together.Figures.AcceptanceRate, alone.Text)
	}
	t.Logf("acceptance %g, %q", together.Figures.AcceptanceRate, together.Text)
}
