// Package local knows the model files on this machine: those that were pulled, and those that
// Ollama, LM Studio, the Hugging Face cache and llama.cpp have already.
package local

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// Sources of models, in the order in which a name is looked up.
const (
	Outrider    = "outrider"
	Ollama      = "ollama"
	LMStudio    = "lmstudio"
	HuggingFace = "huggingface"
	LlamaCPP    = "llama.cpp"
)

// Errors that Resolve wraps.
var (
	ErrUnknown   = errors.New("no such model")
	ErrAmbiguous = errors.New("the name fits several models")
	ErrBroken    = errors.New("the model cannot be used")
)

// Model is a model file on this machine.
type Model struct {
	Name    string   `json:"name"`              // what --target and --draft take
	Source  string   `json:"source"`            // one of the constants above
	Path    string   `json:"path"`              // the file, or the first part
	Files   []string `json:"files"`             // all parts that are there, in order
	Parts   int      `json:"parts"`             // that there should be
	Size    int64    `json:"size"`              // bytes, of all parts
	Problem string   `json:"problem,omitempty"` // why it cannot be used

	id   string   // name within its source: repository and file, or Ollama's name
	also []string // other ids of the same file
}

func (m *Model) short() string {
	if m.Source == Ollama {
		return m.id
	}
	return path.Base(m.id)
}

func (m *Model) repo() string {
	if m.Source == Ollama {
		return ""
	}
	return strings.TrimPrefix(path.Dir(m.id), ".")
}

// Environment is what the search depends on.
type Environment struct {
	Getenv func(string) string
	Home   string // user's home, "" if unknown
	GOOS   string
}

// Host is the running process's environment.
func Host() Environment {
	e := Environment{Getenv: os.Getenv, GOOS: runtime.GOOS}
	e.Home, _ = os.UserHomeDir() // unknown: not searched
	return e
}

// Dir is where pulled models are kept: the configured folder, else outrider/models in the user's
// data folder. It is "" when there is neither.
func (e Environment) Dir(configured string) string {
	if configured != "" {
		return configured
	}
	base := e.Getenv("XDG_DATA_HOME")
	switch {
	case base != "":
	case e.GOOS == "windows":
		base = e.Getenv("LOCALAPPDATA")
	case e.Home != "":
		base = filepath.Join(e.Home, ".local", "share")
	}
	if base == "" {
		return ""
	}
	return filepath.Join(base, "outrider", "models")
}

// Token is the user's Hugging Face token: from HF_TOKEN, or where its own tools keep it; "" for none.
func (e Environment) Token() string {
	for _, v := range []string{"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"} {
		if t := strings.TrimSpace(e.Getenv(v)); t != "" {
			return t
		}
	}
	file := e.Getenv("HF_TOKEN_PATH")
	if home := e.Getenv("HF_HOME"); file == "" && home != "" {
		file = filepath.Join(home, "token")
	}
	if file == "" {
		file = e.cache("huggingface", "token")
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// Find lists the models on this machine, those in dir first. What cannot be read is left out.
func (e Environment) Find(dir string) []Model {
	var all []Model
	seen := map[string]int{}
	add := func(found []Model) {
		for _, m := range found {
			real, err := filepath.EvalSymlinks(m.Path)
			if err != nil {
				continue
			}
			if i, ok := seen[real]; ok {
				if all[i].Source == m.Source {
					all[i].also = append(all[i].also, m.id)
				}
				continue
			}
			seen[real] = len(all)
			all = append(all, m)
		}
	}
	add(folder(Outrider, dir))
	for _, d := range e.ollama() {
		add(ollama(d))
	}
	for _, d := range e.lmStudio() {
		add(folder(LMStudio, d))
	}
	for _, d := range e.huggingFace() {
		add(hubCache(d))
	}
	for _, d := range e.llamaCPP() {
		add(folder(LlamaCPP, d))
	}
	name(all)
	slices.SortStableFunc(all, func(a, b Model) int {
		return cmp.Or(cmp.Compare(rank(a.Source), rank(b.Source)), strings.Compare(a.Name, b.Name))
	})
	return all
}

func rank(source string) int {
	return slices.Index([]string{Outrider, Ollama, LMStudio, HuggingFace, LlamaCPP}, source)
}

// name gives each model the shortest name that is its own.
func name(all []Model) {
	count := map[string]int{}
	for i := range all {
		count[all[i].Source+"\n"+strings.ToLower(all[i].short())]++
	}
	for i := range all {
		m := &all[i]
		m.Name = m.id
		if count[m.Source+"\n"+strings.ToLower(m.short())] == 1 {
			m.Name = m.short()
		}
		if m.Source != Outrider {
			m.Name = m.Source + ":" + m.Name
		}
	}
}

// Resolve finds a model by name: as listed; as pulled (REPO, REPO:QUANT or REPO:FILE); or by its
// file's name. The first source that has it counts; within it the name must fit one model.
func Resolve(all []Model, name string) (Model, error) {
	for _, source := range []string{Outrider, Ollama, LMStudio, HuggingFace, LlamaCPP} {
		var fit []Model
		for _, m := range all {
			if m.Source == source && m.called(name) {
				fit = append(fit, m)
			}
		}
		switch {
		case len(fit) == 1 && fit[0].Problem != "":
			return Model{}, fmt.Errorf("%w: %s: %s", ErrBroken, fit[0].Path, fit[0].Problem)
		case len(fit) == 1:
			return fit[0], nil
		case len(fit) > 1:
			var names []string
			for _, m := range fit {
				names = append(names, m.Name)
			}
			return Model{}, fmt.Errorf("%w: %q may be %s", ErrAmbiguous, name, strings.Join(names, ", "))
		}
	}
	return Model{}, fmt.Errorf("%w: %q", ErrUnknown, name)
}

func (m *Model) called(name string) bool {
	names := []string{m.Name, m.id, m.short(), m.short() + ".gguf", m.id + ".gguf", m.Source + ":" + m.id, filepath.Base(m.Path)}
	if r := m.repo(); r != "" {
		names = append(names, r, r+":"+m.short(), r+":"+m.short()+".gguf", r+":"+filepath.Base(m.Path))
		if q := Quant(m.id); q != "" {
			names = append(names, r+":"+q)
		}
	}
	for _, id := range m.also {
		names = append(names, id, m.Source+":"+id)
	}
	return slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, name) })
}

// problem says why a file is no model, "" if it begins as one.
func problem(file string) string {
	f, err := os.Open(file)
	if err != nil {
		return "it cannot be read"
	}
	defer func() { _ = f.Close() }() // it was only read
	var magic [4]byte
	if _, err := io.ReadFull(f, magic[:]); err != nil || string(magic[:]) != "GGUF" {
		return "it is not a GGUF file"
	}
	return ""
}
