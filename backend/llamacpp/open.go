package llamacpp

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"unsafe"

	"github.com/ebitengine/purego"
	"github.com/hybridgroup/yzma/pkg/llama"
	"github.com/hybridgroup/yzma/pkg/loader"
	"github.com/hybridgroup/yzma/pkg/utils"
	"github.com/jupiterrider/ffi"

	"github.com/outrider-llm/outrider/backend/llamacpp/library"
)

// ErrLibrary says that libraries are there but cannot be used.
var ErrLibrary = errors.New("llama.cpp's libraries do not fit")

// Library is the loaded llama.cpp.
type Library struct {
	library.Found
	Version string // as the library says
	System  string // its instruction sets
	Devices []library.Device
}

// process is what a process has of llama.cpp: one library, one log, whoever loads a model holds it.
// C keeps both in global variables, hence this one.
type process struct {
	sync.Mutex
	lib *Library
	log logs
}

var shared process

// Open loads the libraries, once per process, from the folder that is configured or else found.
// Errors wrap library.ErrNotFound or ErrLibrary.
func Open(configured string) (*Library, error) {
	shared.Lock()
	defer shared.Unlock()
	return shared.open(configured)
}

func (p *process) open(configured string) (*Library, error) {
	if p.lib != nil {
		if configured != "" && configured != p.lib.Dir {
			return nil, fmt.Errorf("%w: this process already runs %s, it cannot change to %s", ErrLibrary, p.lib.Dir, configured)
		}
		return p.lib, nil
	}
	found, err := library.Host().Find(configured)
	if err != nil {
		return nil, err
	}
	fail := func(err error) (*Library, error) {
		return nil, fmt.Errorf("%w: %s (%s): %w; this program is made for llama.cpp v%s: `outrider install llamacpp` fetches it",
			ErrLibrary, found.Dir, found.Source, err, library.Version)
	}
	if err := llama.Load(found.Dir); err != nil {
		return fail(err)
	}
	l := &Library{Found: found}
	if l.Version, err = versionOf(found.Dir); err != nil {
		return fail(err)
	}
	if err := checkLayout(llama.ModelDefaultParams(), llama.ContextDefaultParams()); err != nil {
		return fail(fmt.Errorf("version %s: %w", l.Version, err))
	}
	llama.LogSet(purego.NewCallback(p.log.write))
	llama.Init()
	l.System = strings.TrimSpace(llama.PrintSystemInfo())
	l.Devices = devices()
	if len(l.Devices) == 0 {
		return fail(errors.New("no compute backend lies in that folder (libggml-cpu-*)"))
	}
	p.lib = l
	return l, nil
}

// Doctor says which libraries Open finds and what they can do.
func Doctor(configured string) library.Report {
	l, err := Open(configured)
	if err != nil {
		return library.Report{Error: err.Error()}
	}
	return library.Report{Dir: l.Dir, Source: l.Source, Version: l.Version, Tested: l.Tested(), System: l.System, Devices: l.Devices, Note: library.Idle(l.Dir, l.Devices)}
}

// Tested says that the library is the version that the engine was tested with.
func (l *Library) Tested() bool {
	v, _, _ := strings.Cut(strings.TrimPrefix(l.Version, "v"), "-")
	return v == library.Version
}

func devices() []library.Device {
	var out []library.Device
	for i := range llama.GGMLBackendDeviceCount() {
		d := llama.GGMLBackendDeviceGet(i)
		free, total := llama.GGMLBackendDeviceMemory(d)
		out = append(out, library.Device{Name: llama.GGMLBackendDeviceName(d), Description: llama.GGMLBackendDeviceDescription(d),
			Kind: llama.GGMLBackendDevType(d).String(), Free: free, Total: total})
	}
	return out
}

// versionOf asks the library for its version, which yzma does not.
func versionOf(dir string) (string, error) {
	lib, err := loader.LoadLibrary(dir, "llama")
	if err != nil {
		return "", err
	}
	f, err := lib.Prep("llama_version", &ffi.TypePointer)
	if err != nil {
		return "", err
	}
	var s *byte
	f.Call(unsafe.Pointer(&s))
	if s == nil {
		return "", errors.New("it does not tell its version")
	}
	return utils.BytePtrToString(s), nil
}

// checkLayout looks whether the library's structures are laid out as yzma believes: symbols alone do
// not tell, and a difference would corrupt memory. The values are llama.cpp's documented defaults.
func checkLayout(m llama.ModelParams, c llama.ContextParams) error {
	bits := []uint8{m.VocabOnly, m.CheckTensors, m.UseExtraBufts, m.NoHost, m.NoAlloc, m.LoadMTP,
		c.Embeddings, c.Offload_kqv, c.NoPerf, c.OpOffload, c.SwaFull, c.KVUnified}
	for _, b := range bits {
		if b > 1 {
			return errors.New("its structures are laid out differently")
		}
	}
	ok := m.Devices == 0 && m.TensorSplit == nil && m.ProgressCallback == 0 && m.MainGpu == 0 && m.UseExtraBufts == 1 &&
		m.SplitMode == llama.SplitModeLayer && m.VocabOnly == 0 &&
		c.NBatch == 2048 && c.NUbatch == 512 && c.NSeqMax == 1 && c.NThreads > 0 && c.NThreads < 1024 &&
		c.RopeScalingType == -1 && c.PoolingType == -1 && c.AttentionType == -1 && c.FlashAttentionType == -1 &&
		c.YarnExtFactor == -1 && c.TypeK == llama.GGMLTypeF16 && c.TypeV == llama.GGMLTypeF16 && c.AbortCallback == 0 &&
		c.Offload_kqv == 1 && c.Embeddings == 0 && c.Samplers == 0 && c.NSamplers == 0 && c.CtxOther == 0
	if !ok {
		return errors.New("its structures are laid out differently")
	}
	return nil
}

// abortable is asked by llama.cpp, between the steps of a computation, whether to give up.
type abortable struct {
	sync.Mutex
	ctx context.Context // of the computation that runs
}

// during sets the context of what runs until the returned function is called.
func (a *abortable) during(ctx context.Context) (done func()) {
	set := func(ctx context.Context) {
		a.Lock()
		defer a.Unlock()
		a.ctx = ctx
	}
	set(ctx)
	return func() { set(nil) }
}

func (a *abortable) aborted() bool {
	a.Lock()
	ctx := a.ctx
	a.Unlock()
	return ctx != nil && ctx.Err() != nil
}
