// Package workload reads the prompts that benchmarks and checks run.
package workload

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// Stories are prompts that the demo pair can continue; used when no file is given.
var stories = []string{
	"Once upon a time, there was a little girl named Lily.",
	"One day, a dog named Max found a big red ball in the park.",
	"Tom and his mom went to the beach. The sun was hot and",
	"The little bird wanted to fly, but",
	"Sara had a new doll. She",
	"Ben and Mia were playing in the garden when",
	"There was a big tree near the river. In the tree lived",
	"It was raining, and the cat",
}

// Stories returns n prompts for the demo pair, repeated as needed.
func Stories(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = stories[i%len(stories)]
	}
	return out
}

// fields that hold the prompt in the known sets (Spec-Bench, HumanEval, GSM8K, Vicuna, Self-Instruct).
var fields = []string{"prompt", "turns", "question", "text", "instruction"}

// Read returns the first n prompts of a file (all when n is 0): JSON lines with one of the fields
// prompt, turns, question, text or instruction, or plain text, one prompt a line; .gz is unpacked.
func Read(path string, n int) ([]string, error) {
	r, done, err := unpacked(path)
	if err != nil {
		return nil, fmt.Errorf("prompts: %w", err)
	}
	defer done()
	out, err := parse(r, n)
	if err != nil {
		return nil, fmt.Errorf("prompts %s: %w", path, err)
	}
	return out, nil
}

// unpacked opens a file; .gz is unpacked. done closes it.
func unpacked(path string) (r io.Reader, done func(), err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	done = func() { _ = f.Close() } // it was only read
	if !strings.HasSuffix(path, ".gz") {
		return f, done, nil
	}
	z, err := gzip.NewReader(f)
	if err != nil {
		done()
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	return z, done, nil
}

func parse(r io.Reader, n int) ([]string, error) {
	var out []string
	s := bufio.NewScanner(r)
	s.Buffer(nil, 8<<20)
	for line := 1; s.Scan() && (n == 0 || len(out) < n); line++ {
		text := strings.TrimSpace(s.Text())
		if text == "" {
			continue
		}
		if text[0] == '{' {
			p, err := promptOf([]byte(text))
			if err != nil {
				return nil, fmt.Errorf("line %d: %w", line, err)
			}
			text = p
		}
		out = append(out, text)
	}
	if err := s.Err(); err != nil {
		return nil, err
	}
	if len(out) == 0 {
		return nil, errors.New("no prompt in it")
	}
	return out, nil
}

func promptOf(line []byte) (string, error) {
	var m map[string]json.RawMessage
	if err := json.Unmarshal(line, &m); err != nil {
		return "", err
	}
	for _, f := range fields {
		var one string
		if json.Unmarshal(m[f], &one) == nil && one != "" {
			return one, nil
		}
		var many []string
		if json.Unmarshal(m[f], &many) == nil && len(many) > 0 {
			return many[0], nil
		}
	}
	return "", fmt.Errorf("none of the fields %s holds a text", strings.Join(fields, ", "))
}
