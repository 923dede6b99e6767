package library

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
)

// packageVersion is the release of the npm packages that carry llama.cpp Version.
const packageVersion = "3.22.1"

// packages are the npm packages of @node-llama-cpp by platform and variant, with the integrity that
// the registry published. They hold llama.cpp's own libraries, built by the node-llama-cpp project.
var packages = map[string]string{
	"linux-x64":        "sha512-5uCCDNqWCNfaAm8aR/Uzxbo4HBpKgNF91kCHPepKhgMgV2OAmatoefbOlMihsqCiH2Od35E/eUHQCFbfRBJuOg==",
	"linux-x64-cuda":   "sha512-8rQCjyNNLZJUFit+YpjwlC4hwkKgOMIkB2wuycKBf8NU2O3ySKbiWZQ8aw9ku2nUTXjSnUIrE6KB88itduTBuA==",
	"linux-x64-vulkan": "sha512-bBxqU+JOcBu1nb5Qj2zcMci+JByT1E8EajHvYodyNfVIPkEhXh+/HMwR1/BT7xP08YK0hks+kM8fglER0P8JEg==",
	"linux-arm64":      "sha512-W+7naKCXX9/eEjjFmRS8vvx91QyLXDbeFxexZc3bh/PtQABZgmRL3C0AtYYXn4YGTj/3Qor4lWZn2tpjZFPLdQ==",
}

// Errors of Install.
var (
	ErrNoNPM      = errors.New("npm is not installed")
	ErrNoPackage  = errors.New("there is no ready-made package")
	ErrDownload   = errors.New("the download failed")
	ErrBadArchive = errors.New("the package is not what it should be")
)

// maxFile and maxAll bound what is unpacked, in bytes.
const (
	maxFile = 1 << 30
	maxAll  = 2 << 30
)

// Request says what to install and where.
type Request struct {
	Dir     string // replaced as a whole if it holds an earlier installation
	Variant string // "" for CPUs, cuda, vulkan
	GOOS    string // "" for this machine's
	GOARCH  string
	Npm     string               // the command, "" for npm
	Say     func(string, ...any) // progress, may be nil
}

// Install fetches the libraries with npm and unpacks them into a folder.
func Install(ctx context.Context, r Request) (Found, error) {
	if r.GOOS == "" {
		r.GOOS, r.GOARCH = runtime.GOOS, runtime.GOARCH
	}
	if r.Say == nil {
		r.Say = func(string, ...any) {}
	}
	name, err := packageName(r)
	if err != nil {
		return Found{}, err
	}
	if err := replaceable(r.Dir); err != nil {
		return Found{}, err
	}
	if err := os.MkdirAll(filepath.Dir(r.Dir), 0o755); err != nil {
		return Found{}, err
	}
	temp, err := os.MkdirTemp(filepath.Dir(r.Dir), ".llamacpp-*")
	if err != nil {
		return Found{}, err
	}
	defer func() { _ = os.RemoveAll(temp) }() // what is left of it is hidden
	full := "@node-llama-cpp/" + name + "@" + packageVersion
	r.Say("fetching %s with npm", full)
	archive, err := fetch(ctx, r.Npm, full, temp)
	if err != nil {
		return Found{}, err
	}
	if err := verify(archive, packages[name]); err != nil {
		return Found{}, fmt.Errorf("%s: %w", full, err)
	}
	fresh := filepath.Join(temp, "lib")
	if err := unpack(archive, fresh); err != nil {
		return Found{}, fmt.Errorf("%s: %w", full, err)
	}
	env := Environment{Getenv: os.Getenv, GOOS: r.GOOS}
	if err := link(fresh, env); err != nil {
		return Found{}, err
	}
	if missing := env.missing(fresh); missing != "" {
		return Found{}, fmt.Errorf("%s: %w: it has no %s", full, ErrBadArchive, missing)
	}
	if err := replace(r.Dir, fresh, filepath.Join(temp, "old")); err != nil {
		return Found{}, err
	}
	r.Say("installed llama.cpp %s into %s", Version, r.Dir)
	return Found{Place{Dir: r.Dir, Source: "installed by outrider"}, env.version(r.Dir)}, nil
}

func packageName(r Request) (string, error) {
	arch := map[string]string{"amd64": "x64", "arm64": "arm64"}[r.GOARCH]
	name := r.GOOS + "-" + arch
	if r.Variant != "" {
		name += "-" + r.Variant
	}
	if _, ok := packages[name]; ok {
		return name, nil
	}
	what := r.GOOS + "/" + r.GOARCH
	if r.Variant != "" {
		what += " with " + r.Variant
	}
	return "", fmt.Errorf("%w of llama.cpp v%s for %s: take the shared libraries of its release v%s, or build it with BUILD_SHARED_LIBS=ON, "+
		"and name their folder by the option lib or by %s", ErrNoPackage, Version, what, Version, EnvVariable)
}

// stamp marks a folder as made by Install, which may replace it.
const stamp = ".outrider-llamacpp"

// replaceable refuses folders that hold other things.
func replaceable(dir string) error {
	if dir == "" {
		return errors.New("no folder to install into: there is no home folder, name one with --dir")
	}
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) || err == nil && len(entries) == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(dir, stamp)); err != nil {
		return fmt.Errorf("%s holds other files: name a new folder with --dir", dir)
	}
	return nil
}

// fetch lets npm put a package into dir and returns the archive's path.
func fetch(ctx context.Context, npm, name, dir string) (string, error) {
	if npm == "" {
		npm = "npm"
	}
	bin, err := exec.LookPath(npm)
	if err != nil {
		return "", fmt.Errorf("%w: install it (Debian: apt-get install npm), or %s", ErrNoNPM,
			"take the shared libraries of llama.cpp's release v"+Version+" and name their folder by the option lib or by "+EnvVariable)
	}
	cmd := exec.CommandContext(ctx, bin, "pack", "--silent", "--ignore-scripts", "--pack-destination", dir, name)
	var stderr strings.Builder
	cmd.Dir, cmd.Stderr = dir, &stderr
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		return "", fmt.Errorf("%w: npm pack %s: %w: %s", ErrDownload, name, err, firstLine(stderr.String()))
	}
	found, err := filepath.Glob(filepath.Join(dir, "*.tgz"))
	if err != nil || len(found) != 1 {
		return "", fmt.Errorf("%w: npm pack %s left no archive", ErrDownload, name)
	}
	return found[0], nil
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(strings.TrimSpace(s), "\n")
	if s == "" {
		return "is the registry reachable? (npm ping)"
	}
	return s
}

// verify compares a file with its integrity, "sha512-" and base64.
func verify(file, integrity string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // it was only read
	h := sha512.New()
	if _, err := io.Copy(h, f); err != nil {
		return err
	}
	if got := "sha512-" + base64.StdEncoding.EncodeToString(h.Sum(nil)); got != integrity {
		return fmt.Errorf("%w: its checksum is %s, should be %s", ErrBadArchive, got, integrity)
	}
	return nil
}

// wanted matches the libraries and licences of a package, and no programs.
var wanted = regexp.MustCompile(`^(lib.*[.](so|dylib)([.0-9]*)?|.*[.]dll|LICENSE)$`)

// unpack writes the libraries of a package into a new folder, without the package's own folders.
func unpack(file, dir string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // it was only read
	z, err := gzip.NewReader(f)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBadArchive, err)
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	r, left := tar.NewReader(z), int64(maxAll)
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return os.WriteFile(filepath.Join(dir, stamp), []byte(Version+"\n"), 0o644)
		}
		if err != nil {
			return fmt.Errorf("%w: %w", ErrBadArchive, err)
		}
		base := path.Base(h.Name) // so nothing can leave the folder
		if h.Typeflag != tar.TypeReg || !wanted.MatchString(base) {
			continue
		}
		if left -= h.Size; h.Size > maxFile || left < 0 {
			return fmt.Errorf("%w: it is too large", ErrBadArchive)
		}
		if err := write(filepath.Join(dir, base), io.LimitReader(r, h.Size)); err != nil {
			return err
		}
	}
}

func write(file string, r io.Reader) error {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	if e := f.Close(); err == nil {
		err = e
	}
	return err
}

// link gives the libraries the names without version that the engine opens.
func link(dir string, env Environment) error {
	for _, name := range env.Names() {
		plain, ext := strings.TrimSuffix(name, filepath.Ext(name)), filepath.Ext(name)
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			continue
		}
		found, err := filepath.Glob(filepath.Join(dir, plain+".*"+Version+ext))
		if err != nil || len(found) != 1 {
			continue // the caller sees that it is missing
		}
		if err := os.Symlink(filepath.Base(found[0]), filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return nil
}

// replace puts a folder in the place of another.
func replace(dir, fresh, old string) error {
	if err := os.Rename(dir, old); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return os.Rename(fresh, dir)
}
