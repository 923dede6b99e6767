package local

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// tree is a made-up home.
type tree struct {
	t    *testing.T
	home string
	env  map[string]string
}

func newTree(t *testing.T) *tree { return &tree{t, t.TempDir(), map[string]string{}} }

func (x *tree) at(goos string) Environment {
	return Environment{Getenv: func(k string) string { return x.env[k] }, Home: x.home, GOOS: goos}
}

func (x *tree) write(name, content string) string {
	x.t.Helper()
	p := filepath.Join(x.home, filepath.FromSlash(name))
	if err := errors.Join(os.MkdirAll(filepath.Dir(p), 0o755), os.WriteFile(p, []byte(content), 0o600)); err != nil {
		x.t.Fatal(err)
	}
	return p
}

func (x *tree) link(target, name string) {
	x.t.Helper()
	p := filepath.Join(x.home, filepath.FromSlash(name))
	if err := errors.Join(os.MkdirAll(filepath.Dir(p), 0o755), os.Symlink(target, p)); err != nil {
		x.t.Skipf("no symbolic links here: %v", err)
	}
}

// ollama writes a manifest and its blob.
func (x *tree) ollama(root, manifest, digit, content string) string {
	digest := strings.Repeat(digit, 64)
	layers := []map[string]any{
		{"mediaType": "application/vnd.ollama.image.template", "digest": "sha256:" + strings.Repeat("e", 64), "size": 3},
		{"mediaType": ollamaModel, "digest": "sha256:" + digest, "size": len(content)},
	}
	b, _ := json.Marshal(map[string]any{"schemaVersion": 2, "layers": layers})
	x.write(root+"/manifests/"+manifest, string(b))
	return x.write(root+"/blobs/sha256-"+digest, content)
}

func names(all []Model) (out []string) {
	for _, m := range all {
		s := m.Name
		if m.Problem != "" {
			s += " !" + m.Problem
		}
		out = append(out, s)
	}
	return out
}

const gguf = "GGUF and more"

// full is a home with models of every kind.
func full(t *testing.T) *tree {
	x := newTree(t)
	own := ".local/share/outrider/models/"
	x.write(own+"Qwen/Q-GGUF/q-0.5b-q8_0.gguf", gguf)
	x.write(own+"Qwen/Q-GGUF/q-0.5b-q4_k_m-00002-of-00002.gguf", gguf)
	x.write(own+"Qwen/Q-GGUF/q-0.5b-q4_k_m-00001-of-00002.gguf", gguf)
	x.write(own+"Qwen/Q-GGUF/half-00001-of-00003.gguf", gguf)
	x.write(own+"Qwen/Q-GGUF/coming.gguf.part", gguf)
	x.write(own+"Qwen/Q-GGUF/mmproj-f16.gguf", gguf)
	x.write(own+"other/Q-GGUF/Q-0.5B-Q8_0.gguf", gguf)
	x.write(own+"example.org/page.gguf", "<html>")
	x.write(own+".locks/x.gguf", gguf)
	x.ollama(".ollama/models", "registry.ollama.ai/library/llama3.2/1b", "a", gguf)
	x.ollama(".ollama/models", "registry.ollama.ai/library/llama3.2/latest", "a", gguf)
	x.ollama(".ollama/models", "registry.ollama.ai/someone/thing/v1", "b", gguf)
	x.ollama(".ollama/models", "hf.co/bartowski/Q-GGUF/Q4_K_M", "c", gguf)
	x.write(".ollama/models/manifests/registry.ollama.ai/library/broken/latest", "{")
	x.write(".ollama/models/manifests/registry.ollama.ai/library/evil/latest",
		`{"layers":[{"mediaType":"`+ollamaModel+`","digest":"sha256:../../../../secret"}]}`)
	x.write(".lmstudio/models/lmstudio-community/M-GGUF/M-Q4_K_M.gguf", gguf)
	blob := x.write(".cache/huggingface/hub/models--Qwen--Q3-GGUF/blobs/1234", gguf)
	x.link(blob, ".cache/huggingface/hub/models--Qwen--Q3-GGUF/snapshots/aaa/q3-q8_0.gguf")
	x.link(blob, ".cache/huggingface/hub/models--Qwen--Q3-GGUF/snapshots/bbb/q3-q8_0.gguf")
	x.link(filepath.Join(x.home, "gone"), ".cache/huggingface/hub/models--Qwen--Q3-GGUF/snapshots/bbb/gone.gguf")
	x.write(".cache/huggingface/hub/models--Qwen--Q3-GGUF/refs/main", "bbb\n")
	x.write(".cache/huggingface/hub/models--bert/snapshots/aaa/model.safetensors", "x")
	x.write(".cache/llama.cpp/ggml-org_M-GGUF_m-q8_0.gguf", gguf)
	x.write(".cache/llama.cpp/ggml-org_M-GGUF_m-q8_0.gguf.json", "{}")
	return x
}

func TestFind(t *testing.T) {
	x := full(t)
	e := x.at("linux")
	all := e.Find(e.Dir(""))
	want := []string{
		"Qwen/Q-GGUF/q-0.5b-q8_0",
		"half !1 of its 3 parts are there",
		"other/Q-GGUF/Q-0.5B-Q8_0",
		"page !it is not a GGUF file",
		"q-0.5b-q4_k_m",
		"ollama:hf.co/bartowski/Q-GGUF:Q4_K_M",
		"ollama:llama3.2:1b",
		"ollama:someone/thing:v1",
		"lmstudio:M-Q4_K_M",
		"huggingface:q3-q8_0",
		"llama.cpp:ggml-org_M-GGUF_m-q8_0",
	}
	got := names(all)
	if !slices.Equal(got, want) {
		t.Errorf("found\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for _, m := range all {
		if m.Name == "q-0.5b-q4_k_m" && (m.Parts != 2 || m.Size != 2*int64(len(gguf)) || !strings.HasSuffix(m.Path, "-00001-of-00002.gguf")) {
			t.Errorf("%+v", m)
		}
		if m.Source == HuggingFace && !strings.Contains(m.Path, "bbb") {
			t.Errorf("%s is not of the main revision", m.Path)
		}
	}
}

func TestResolve(t *testing.T) {
	e := full(t).at("linux")
	all := e.Find(e.Dir(""))
	for name, want := range map[string]string{ // end of the path, or an error's text
		"q-0.5b-q4_k_m":                    "q-0.5b-q4_k_m-00001-of-00002.gguf",
		"Q-0.5B-Q4_K_M.gguf":               "q-0.5b-q4_k_m-00001-of-00002.gguf",
		"q-0.5b-q8_0":                      "may be Qwen/Q-GGUF/q-0.5b-q8_0, other/Q-GGUF/Q-0.5B-Q8_0",
		"Qwen/Q-GGUF/q-0.5b-q8_0":          filepath.Join("Qwen", "Q-GGUF", "q-0.5b-q8_0.gguf"),
		"Qwen/Q-GGUF:Q4_K_M":               "q-0.5b-q4_k_m-00001-of-00002.gguf",
		"qwen/q-gguf:q8_0":                 filepath.Join("Qwen", "Q-GGUF", "q-0.5b-q8_0.gguf"),
		"other/Q-GGUF":                     filepath.Join("other", "Q-GGUF", "Q-0.5B-Q8_0.gguf"),
		"Qwen/Q-GGUF":                      "may be",
		"half":                             "1 of its 3 parts",
		"page":                             "not a GGUF",
		"ollama:llama3.2:1b":               strings.Repeat("a", 64),
		"llama3.2:latest":                  strings.Repeat("a", 64),
		"someone/thing:v1":                 strings.Repeat("b", 64),
		"lmstudio:M-Q4_K_M":                "M-Q4_K_M.gguf",
		"lmstudio-community/M-GGUF":        "M-Q4_K_M.gguf",
		"Qwen/Q3-GGUF:Q8_0":                "q3-q8_0.gguf",
		"llama.cpp:ggml-org_M-GGUF_m-q8_0": "ggml-org_M-GGUF_m-q8_0.gguf",
		"nothing":                          "no such model",
		"":                                 "no such model",
	} {
		m, err := Resolve(all, name)
		got := m.Path
		if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, want) {
			t.Errorf("%q gives %s, want %s", name, got, want)
		}
	}
	for _, m := range all { // every listed name leads back
		if m.Problem != "" {
			continue
		}
		if got, err := Resolve(all, m.Name); err != nil || got.Path != m.Path {
			t.Errorf("%s leads to %s, %v", m.Name, got.Path, err)
		}
	}
}

func TestPlaces(t *testing.T) {
	x := newTree(t)
	for _, c := range []struct{ goos, variable, dir, name, want string }{
		{"linux", "OLLAMA_MODELS", "o", "", "ollama:m:latest"},
		{"linux", "HF_HUB_CACHE", "hub", "models--a--b/snapshots/1/m.gguf", "huggingface:m"},
		{"linux", "HF_HOME", "hf", "hub/models--a--b/snapshots/1/m.gguf", "huggingface:m"},
		{"linux", "XDG_CACHE_HOME", "cache", "huggingface/hub/models--a--b/snapshots/1/m.gguf", "huggingface:m"},
		{"linux", "XDG_CACHE_HOME", "cache2", "llama.cpp/m.gguf", "llama.cpp:m"},
		{"linux", "LLAMA_CACHE", "lc", "m.gguf", "llama.cpp:m"},
		{"windows", "LOCALAPPDATA", "app", "llama.cpp/m.gguf", "llama.cpp:m"},
		{"darwin", "", "", "Library/Caches/llama.cpp/m.gguf", "llama.cpp:m"},
		{"linux", "", "", ".cache/lm-studio/models/a/b/m.gguf", "lmstudio:m"},
		{"linux", "XDG_DATA_HOME", "data", "outrider/models/a/b/m.gguf", "m"},
		{"windows", "LOCALAPPDATA", "app2", "outrider/models/a/b/m.gguf", "m"},
	} {
		t.Run(c.goos+" "+c.variable+" "+c.want, func(t *testing.T) {
			x := newTree(t)
			if c.variable != "" {
				x.env[c.variable] = filepath.Join(x.home, c.dir)
			}
			if c.name == "" {
				x.ollama(c.dir, "registry.ollama.ai/library/m/latest", "a", gguf)
			} else {
				x.write(c.dir+"/"+c.name, gguf)
			}
			e := x.at(c.goos)
			if got := names(e.Find(e.Dir(""))); !slices.Equal(got, []string{c.want}) {
				t.Errorf("found %q, want %q", got, c.want)
			}
		})
	}
	x.write(".lmstudio-home-pointer", filepath.Join(x.home, "elsewhere")+"\n")
	x.write("elsewhere/models/a/b/m.gguf", gguf)
	e := x.at("linux")
	if got := names(e.Find("")); !slices.Equal(got, []string{"lmstudio:m"}) {
		t.Errorf("by LM Studio's pointer: %q", got)
	}
	if none := (Environment{Getenv: func(string) string { return "" }, GOOS: runtime.GOOS}); none.Dir("") != "" || none.Dir("x") != "x" {
		t.Error("a folder without a home")
	}
}

func TestToken(t *testing.T) {
	x := newTree(t)
	e := x.at("linux")
	check := func(want string) {
		t.Helper()
		if got := e.Token(); got != want {
			t.Errorf("token %q, want %q", got, want)
		}
	}
	check("")
	x.write(".cache/huggingface/token", "hf_file\n")
	check("hf_file")
	x.write("hf/token", "hf_home")
	x.env["HF_HOME"] = filepath.Join(x.home, "hf")
	check("hf_home")
	x.env["HF_TOKEN_PATH"] = filepath.Join(x.home, ".cache", "huggingface", "token")
	check("hf_file")
	x.env["HF_TOKEN"] = " hf_env "
	check("hf_env")
}

func TestNames(t *testing.T) {
	for name, want := range map[string]string{
		"qwen2.5-7b-instruct-q4_k_m-00001-of-00002.gguf": "qwen2.5-7b-instruct-q4_k_m Q4_K_M",
		"Qwen2.5-0.5B-Instruct-Q8_0.gguf":                "Qwen2.5-0.5B-Instruct-Q8_0 Q8_0",
		"Llama-3.2-1B-Instruct-IQ3_M.gguf":               "Llama-3.2-1B-Instruct-IQ3_M IQ3_M",
		"qwen2.5-0.5b-instruct-fp16.gguf":                "qwen2.5-0.5b-instruct-fp16 F16",
		"model.BF16.gguf":                                "model.BF16 BF16",
		"gpt-oss-20b-mxfp4.gguf":                         "gpt-oss-20b-mxfp4 MXFP4",
		"stories260K.gguf":                               "stories260K ",
		"q8_0.gguf":                                      "q8_0 Q8_0",
		"x-00003-of-00002.gguf":                          "x-00003-of-00002 ",
		"x-UD-Q4_K_XL.GGUF":                              "x-UD-Q4_K_XL Q4_K_XL",
	} {
		if got := fmt.Sprintf("%s %s", Stem(name), Quant(name)); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}
