package local

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// first returns the folders that an environment variable names, or else the usual ones.
func (e Environment) first(variable string, usual ...string) []string {
	if dir := e.Getenv(variable); dir != "" {
		return []string{dir}
	}
	return slices.DeleteFunc(usual, func(s string) bool { return s == "" })
}

func (e Environment) home(parts ...string) string {
	if e.Home == "" {
		return ""
	}
	return filepath.Join(append([]string{e.Home}, parts...)...)
}

// cache is the user's cache folder as llama.cpp and Hugging Face see it.
func (e Environment) cache(parts ...string) string {
	if x := e.Getenv("XDG_CACHE_HOME"); x != "" {
		return filepath.Join(append([]string{x}, parts...)...)
	}
	return e.home(append([]string{".cache"}, parts...)...)
}

func (e Environment) ollama() []string {
	usual := []string{e.home(".ollama", "models")}
	if e.GOOS == "linux" { // its service has a user of its own
		usual = append(usual, "/usr/share/ollama/.ollama/models", "/var/lib/ollama/.ollama/models")
	}
	return e.first("OLLAMA_MODELS", usual...)
}

func (e Environment) lmStudio() []string {
	dirs := []string{e.home(".lmstudio", "models"), e.home(".cache", "lm-studio", "models")}
	if b, err := os.ReadFile(e.home(".lmstudio-home-pointer")); err == nil {
		dirs = append(dirs, filepath.Join(strings.TrimSpace(string(b)), "models"))
	}
	return slices.DeleteFunc(dirs, func(s string) bool { return s == "" })
}

func (e Environment) huggingFace() []string {
	if dir := e.Getenv("HF_HUB_CACHE"); dir != "" {
		return []string{dir}
	}
	if dir := e.Getenv("HF_HOME"); dir != "" {
		return []string{filepath.Join(dir, "hub")}
	}
	return e.first("HUGGINGFACE_HUB_CACHE", e.cache("huggingface", "hub"))
}

func (e Environment) llamaCPP() []string {
	switch e.GOOS {
	case "darwin":
		return e.first("LLAMA_CACHE", e.home("Library", "Caches", "llama.cpp"))
	case "windows":
		if dir := e.Getenv("LOCALAPPDATA"); dir != "" {
			return e.first("LLAMA_CACHE", filepath.Join(dir, "llama.cpp"))
		}
	}
	return e.first("LLAMA_CACHE", e.cache("llama.cpp"))
}

// hubCache reads the Hugging Face cache: models--OWNER--REPO/snapshots/REVISION/FILE, newest snapshot first.
func hubCache(root string) []Model {
	repos, _ := filepath.Glob(filepath.Join(root, "models--*", "snapshots")) // the pattern is valid
	var out []Model
	for _, snapshots := range repos {
		repo := strings.ReplaceAll(strings.TrimPrefix(filepath.Base(filepath.Dir(snapshots)), "models--"), "--", "/")
		revisions, _ := os.ReadDir(snapshots)
		main, _ := os.ReadFile(filepath.Join(filepath.Dir(snapshots), "refs", "main"))
		slices.SortStableFunc(revisions, func(a, b fs.DirEntry) int {
			return isMain(b, main) - isMain(a, main)
		})
		seen := map[string]bool{}
		for _, r := range revisions {
			for _, m := range walk(HuggingFace, filepath.Join(snapshots, r.Name()), repo+"/") {
				if !seen[m.id] {
					seen[m.id] = true
					out = append(out, m)
				}
			}
		}
	}
	return out
}

func isMain(d fs.DirEntry, main []byte) int {
	if d.Name() == strings.TrimSpace(string(main)) {
		return 1
	}
	return 0
}

// manifest is what Ollama keeps of a model.
type manifest struct {
	Layers []struct {
		MediaType string `json:"mediaType"`
		Digest    string `json:"digest"`
		Size      int64  `json:"size"`
	} `json:"layers"`
}

const (
	ollamaModel   = "application/vnd.ollama.image.model"
	ollamaDefault = "registry.ollama.ai/"
)

// ollama reads manifests/HOST/NAMESPACE/NAME/TAG, which name blobs by digest.
func ollama(root string) []Model {
	manifests := filepath.Join(root, "manifests")
	var out []Model
	_ = filepath.WalkDir(manifests, func(p string, d fs.DirEntry, err error) error { // what cannot be read is left out
		if err != nil || d.IsDir() {
			return nil //nolint:nilerr // see above
		}
		rel, _ := filepath.Rel(manifests, p)
		rel = strings.TrimPrefix(strings.TrimPrefix(filepath.ToSlash(rel), ollamaDefault), "library/")
		at := strings.LastIndexByte(rel, '/')
		if at < 0 {
			return nil
		}
		if m, ok := ollamaFile(root, p); ok {
			m.id = rel[:at] + ":" + rel[at+1:]
			out = append(out, m)
		}
		return nil
	})
	return out
}

func ollamaFile(root, file string) (Model, bool) {
	b, err := os.ReadFile(file)
	if err != nil || len(b) > 1<<20 {
		return Model{}, false
	}
	var man manifest
	if json.Unmarshal(b, &man) != nil {
		return Model{}, false
	}
	for _, l := range man.Layers {
		digest := strings.TrimPrefix(l.Digest, "sha256:")
		if l.MediaType != ollamaModel || len(digest) != 64 || strings.Trim(digest, "0123456789abcdef") != "" {
			continue
		}
		blob := filepath.Join(root, "blobs", "sha256-"+digest)
		st, err := os.Stat(blob)
		if err != nil {
			return Model{}, false // it is being downloaded, or was pruned
		}
		m := Model{Source: Ollama, Path: blob, Files: []string{blob}, Parts: 1, Size: st.Size(), Problem: problem(blob)}
		if m.Problem == "" && l.Size > 0 && l.Size != st.Size() {
			m.Problem = "its download is not complete"
		}
		return m, true
	}
	return Model{}, false
}
