package main

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/knadh/koanf/v2"
)

// FuzzConfig: whatever a configuration file holds is taken, or refused as a usage error of single lines.
func FuzzConfig(f *testing.F) {
	for _, s := range []string{"cloud: {listen: 0.0.0.0:1, targets: [a, {model: b, pace: 1ms}]}\n", "edge:\n  draft: none\n  depth: 1e3\n  run_ahead: off\n", "a: &a [*a]\n", "models: {x: {model: y}}\npairs: {p: {target: x}}\npair: p\n",
		"cloud:\n  tenants: {t: {sessions: -1, weight: .nan}}\n", "edge: {privacy: {regions: [x, 1]}, fallback_after: 3}\n", "prices: {input: .inf}\n", "? {a: b}\n: c\n", "--- \n---\n", "edge: null\n"} {
		f.Add([]byte(s))
	}
	if b, err := os.ReadFile("../../deploy/outrider.yaml"); err == nil {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		k, cfg := koanf.New("."), defaultConfig()
		cfg.from = sources{of: map[string]string{}}
		err := cfg.from.parse(k, "f", text)
		if err == nil {
			err = cfg.unmarshal(k)
		}
		if err == nil {
			err = errors.Join(cfg.validate()...)
		}
		if err == nil {
			err = errors.Join(cfg.addressErrors()...)
		}
		if err != nil && strings.TrimSpace(err.Error()) == "" {
			t.Fatal("refused without a word")
		}
	})
}
