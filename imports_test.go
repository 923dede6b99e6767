// Package outrider_test checks the shape of the tree: who may import whom.
package outrider_test

import (
	"os/exec"
	"strings"
	"testing"
)

const module = "github.com/outrider-llm/outrider/"

// rooms maps each room to the rooms of this module that its code (tests apart) may import. A room
// covers the packages below it; the longest match counts.
var rooms = map[string][]string{
	"gguf":         {},
	"proto":        {},
	"models":       {"gguf"},
	"speculative":  {},
	"grammar":      {},
	"tokenizer":    {"gguf"},
	"chat":         {"tokenizer"},
	"telemetry":    {},
	"trust":        {},
	"backend":      {"speculative", "grammar", "tokenizer", "gguf", "models", "proto", "telemetry"},
	"drafter":      {"speculative", "grammar", "tokenizer", "backend"},
	"cloud":        {"speculative", "grammar", "tokenizer", "backend", "drafter", "proto", "telemetry"},
	"edge":         {"speculative", "grammar", "tokenizer", "chat", "backend", "drafter", "edge/router", "edge/reach", "edge/privacy", "edge/sensors", "perception/media", "proto", "telemetry"},
	"edge/router":  {},
	"edge/reach":   {},
	"edge/privacy": {},
	"edge/sensors": {},
	"perception":   {"proto", "backend", "perception/media"},
	"bench":        {"speculative", "grammar", "tokenizer", "chat", "backend", "drafter", "cloud", "edge", "edge/router", "perception", "perception/media", "models", "gguf", "proto", "telemetry"},
	"cmd":          {"speculative", "grammar", "tokenizer", "chat", "backend", "drafter", "cloud", "edge", "edge/router", "edge/privacy", "edge/sensors", "perception", "perception/media", "models", "gguf", "proto", "bench", "telemetry", "trust"},

	"perception/media": {},
}

// pure packages may use the standard library and these modules only.
var pure = map[string][]string{
	"speculative":  {},
	"tokenizer":    {module + "gguf", "golang.org/x/text"},
	"gguf":         {},
	"grammar":      {},
	"edge/reach":   {},
	"edge/privacy": {"github.com/nyaruka/phonenumbers"},
	"edge/router":  {"cel.dev/cel-go", "go.yaml.in/yaml/v3"},

	"perception/media": {"github.com/rivo/uniseg"},
}

func room(pkg string) string {
	best := ""
	for r := range rooms {
		if (pkg == r || strings.HasPrefix(pkg, r+"/")) && len(r) > len(best) {
			best = r
		}
	}
	return best
}

func TestImportsGoOneWay(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		pkg := strings.TrimPrefix(f[0], module)
		if pkg == strings.TrimSuffix(module, "/") {
			continue // the root holds only tests
		}
		from := room(pkg)
		if from == "" {
			t.Errorf("%s is in no room: see docs/architecture.md", pkg)
			continue
		}
		for _, imp := range f[1:] {
			if msg := forbidden(pkg, from, imp); msg != "" {
				t.Error(msg)
			}
		}
	}
}

func forbidden(pkg, from, imp string) string {
	if inside, ok := strings.CutPrefix(imp, module); ok {
		to := room(inside)
		if to == from {
			return ""
		}
		for _, r := range rooms[from] {
			if r == to {
				return ""
			}
		}
		return pkg + " must not import " + inside
	}
	allowed, isPure := pure[from]
	if !isPure || !strings.Contains(strings.Split(imp, "/")[0], ".") {
		return ""
	}
	for _, a := range allowed {
		if strings.HasPrefix(imp, a) {
			return ""
		}
	}
	return pkg + " is pure and must not import " + imp
}

func TestForbidden(t *testing.T) {
	for _, c := range []struct {
		pkg, imp string
		bad      bool
	}{
		{"speculative", "time", false},
		{"speculative", "google.golang.org/grpc", true},
		{"speculative", module + "backend", true},
		{"cloud", module + "edge", true},
		{"edge", module + "cloud", true},
		{"backend/reference", module + "backend", false},
		{"backend", module + "cloud", true},
		{"cmd/outrider", module + "edge", false},
		{"bench/load", module + "cmd/outrider", true},
	} {
		if got := forbidden(c.pkg, room(c.pkg), c.imp) != ""; got != c.bad {
			t.Errorf("%s imports %s: forbidden %v, want %v", c.pkg, c.imp, got, c.bad)
		}
	}
}
