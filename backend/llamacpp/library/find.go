// Package library finds and installs the llama.cpp shared libraries that the engine loads. It does
// not load them itself, so it is safe for static programs.
package library

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
)

// Version is the llama.cpp release that the engine was built and tested for: the layout of its
// structures belongs to it.
const Version = "0.5.0"

// EnvVariable names the folder of the libraries when the configuration does not.
const EnvVariable = "YZMA_LIB"

// ErrNotFound says that no folder holds the libraries.
var ErrNotFound = errors.New("llama.cpp's libraries were not found")

// Advice is what a person can do about ErrNotFound.
const Advice = "run `outrider install llamacpp`, or build llama.cpp v" + Version + " with BUILD_SHARED_LIBS=ON and name its folder by the option lib or by " + EnvVariable

// Place is a folder where the libraries may lie.
type Place struct {
	Dir    string
	Source string // why one looks there
	named  bool   // by the user: nothing else is tried
}

// Found is a folder that holds the libraries.
type Found struct {
	Place
	Version string // as far as the files' names tell, else ""
}

// Environment is what the search depends on; Host gives the process's own.
type Environment struct {
	Getenv     func(string) string
	Home       string // user's home, "" if unknown
	Executable string // path of the running program, "" if unknown
	GOOS       string
}

// Host is the running process's environment.
func Host() Environment {
	e := Environment{Getenv: os.Getenv, GOOS: runtime.GOOS}
	e.Home, _ = os.UserHomeDir()      // unknown: not searched
	e.Executable, _ = os.Executable() // likewise
	if p, err := filepath.EvalSymlinks(e.Executable); err == nil {
		e.Executable = p
	}
	return e
}

// Default is where Install puts the libraries: below XDG_DATA_HOME, or what stands for it. It is ""
// when there is no home.
func (e Environment) Default() string {
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
	return filepath.Join(base, "outrider", "llamacpp")
}

// Places lists where the libraries are looked for, in order. A folder that the configuration or the
// environment names is the only one.
func (e Environment) Places(configured string) []Place {
	if configured != "" {
		return []Place{{configured, "option lib", true}}
	}
	if dir := e.Getenv(EnvVariable); dir != "" {
		return []Place{{dir, EnvVariable, true}}
	}
	var out []Place
	add := func(dir, source string) {
		if dir != "" && !slices.ContainsFunc(out, func(p Place) bool { return p.Dir == dir }) {
			out = append(out, Place{Dir: dir, Source: source})
		}
	}
	if e.Executable != "" {
		dir := filepath.Dir(e.Executable)
		add(filepath.Join(dir, "llamacpp"), "beside the program")
		add(dir, "beside the program")
		add(filepath.Join(dir, "..", "lib"), "beside the program")
	}
	add(e.Default(), "installed by outrider")
	if e.GOOS != "windows" {
		for _, dir := range []string{"/opt/homebrew/lib", "/usr/local/lib", "/usr/lib",
			"/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64"} {
			if e.GOOS == "darwin" || dir != "/opt/homebrew/lib" {
				add(dir, "usual place")
			}
		}
	}
	return out
}

// Find returns the first place that holds the libraries.
func (e Environment) Find(configured string) (Found, error) {
	places := e.Places(configured)
	for _, p := range places {
		missing := e.missing(p.Dir)
		switch {
		case missing == "":
			return Found{p, e.version(p.Dir)}, nil
		case p.named:
			return Found{}, fmt.Errorf("%w: %s (%s) has no %s; %s", ErrNotFound, p.Dir, p.Source, missing, Advice)
		}
	}
	var dirs []string
	for _, p := range places {
		dirs = append(dirs, p.Dir)
	}
	return Found{}, fmt.Errorf("%w in %s; %s", ErrNotFound, strings.Join(dirs, ", "), Advice)
}

// Names are the files that must be there.
func (e Environment) Names() []string {
	names := []string{"llama", "ggml", "ggml-base"}
	for i, n := range names {
		switch e.GOOS {
		case "windows":
			names[i] = n + ".dll"
		case "darwin":
			names[i] = "lib" + n + ".dylib"
		default:
			names[i] = "lib" + n + ".so"
		}
	}
	return names
}

func (e Environment) missing(dir string) string {
	for _, n := range e.Names() {
		if st, err := os.Stat(filepath.Join(dir, n)); err != nil || st.IsDir() {
			return n
		}
	}
	return ""
}

// versioned matches what the library's links usually point to: libllama.v0.5.0.so, libllama.so.0.5.0.
var versioned = regexp.MustCompile(`[.]v?([0-9]+[.][0-9]+[.][0-9]+)`)

func (e Environment) version(dir string) string {
	p, err := filepath.EvalSymlinks(filepath.Join(dir, e.Names()[0]))
	if err != nil {
		return ""
	}
	if m := versioned.FindStringSubmatch(filepath.Base(p)); m != nil {
		return m[1]
	}
	return ""
}
