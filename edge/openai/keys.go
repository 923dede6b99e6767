package openai

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/outrider-llm/outrider/telemetry"
)

// ErrKeys is wrapped by the errors of key files.
var ErrKeys = errors.New("API keys")

// Key is one line of a key file. Keys are random, 256 bits, so a plain hash of one cannot be turned
// round by guessing.
type Key struct {
	Name string
	Hash string // SHA-256 of the key, in hexadecimal
	Made string // date
}

// Keys are those of a file; they are read again when it changes.
type Keys struct {
	path string

	mu      sync.Mutex
	checked time.Time
	stamp   stamp
	names   map[string]string // by hash
}

// stamp tells one state of a file from another.
type stamp struct {
	size int64
	at   time.Time
}

// OpenKeys reads a key file.
func OpenKeys(path string) (*Keys, error) {
	k := &Keys{path: path}
	if err := k.load(); err != nil {
		return nil, err
	}
	if len(k.names) == 0 {
		return nil, fmt.Errorf("%w: %s has none: add one with `outrider keys add NAME --file %s`", ErrKeys, path, path)
	}
	return k, nil
}

func (k *Keys) load() error {
	info, err := os.Stat(k.path)
	if err != nil {
		return fmt.Errorf("%w: %w: make the file with `outrider keys add NAME --file %s`", ErrKeys, err, k.path)
	}
	list, err := ReadKeys(k.path)
	if err != nil {
		return err
	}
	names := map[string]string{}
	for _, key := range list {
		names[key.Hash] = key.Name
	}
	k.names, k.stamp = names, stamp{info.Size(), info.ModTime()}
	return nil
}

// keysTTL is how long a change of the file may go unnoticed.
const keysTTL = time.Second

// Find returns the name of a key. A file that cannot be read any more leaves the keys as they were.
func (k *Keys) Find(key string) (string, bool) {
	if key == "" {
		return "", false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if now := time.Now(); now.Sub(k.checked) > keysTTL {
		k.checked = now
		if info, err := os.Stat(k.path); err == nil && (stamp{info.Size(), info.ModTime()}) != k.stamp {
			_ = k.load() // as the comment says
		}
	}
	name, ok := k.names[HashKey(key)] // by hash: the time of the look-up tells nothing about a key
	return name, ok
}

// HashKey is what is kept of a key.
func HashKey(key string) string {
	h := sha256.Sum256([]byte(key))
	return hex.EncodeToString(h[:])
}

// NewKey makes a random key.
func NewKey() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails
	return "sk-outrider-" + base64.RawURLEncoding.EncodeToString(b[:])
}

// ReadKeys reads a key file: lines of a name, sha256:HASH and a date; # begins a comment.
func ReadKeys(path string) ([]Key, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKeys, err)
	}
	var out []Key
	s := bufio.NewScanner(bytes.NewReader(b))
	for n := 1; s.Scan(); n++ {
		line, _, _ := strings.Cut(s.Text(), "#")
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		if len(f) < 2 || !strings.HasPrefix(f[1], "sha256:") || len(f[1]) != len("sha256:")+64 {
			return nil, fmt.Errorf("%w: line %d of %s is not NAME sha256:HASH DATE: make lines with `outrider keys add NAME`", ErrKeys, n, path)
		}
		out = append(out, Key{Name: f[0], Hash: strings.TrimPrefix(f[1], "sha256:"), Made: strings.Join(f[2:], " ")})
	}
	if err := s.Err(); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrKeys, path, err)
	}
	return out, nil
}

// AddKey makes a key and adds it to a file, which need not exist. The key itself is kept nowhere.
func AddKey(path, name string, now time.Time) (string, error) {
	if !telemetry.ValidRequestID(name) || strings.ContainsAny(name, "#") {
		return "", fmt.Errorf("%w: name %q: use letters, digits and signs, without spaces and #", ErrKeys, name)
	}
	list, err := ReadKeys(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	for _, k := range list {
		if k.Name == name {
			return "", fmt.Errorf("%w: %s has a key %s already: remove it first, or choose another name", ErrKeys, path, name)
		}
	}
	key := NewKey()
	return key, writeKeys(path, append(list, Key{Name: name, Hash: HashKey(key), Made: now.Format(time.DateOnly)}))
}

// RemoveKey takes a key out of a file; running edges refuse it within a second.
func RemoveKey(path, name string) error {
	list, err := ReadKeys(path)
	if err != nil {
		return err
	}
	var rest []Key
	for _, k := range list {
		if k.Name != name {
			rest = append(rest, k)
		}
	}
	if len(rest) == len(list) {
		return fmt.Errorf("%w: %s has no key %s: `outrider keys list` shows them", ErrKeys, path, name)
	}
	return writeKeys(path, rest)
}

// writeKeys replaces the file as a whole.
func writeKeys(path string, list []Key) error {
	var b strings.Builder
	b.WriteString("# API keys of an Outrider edge, hashed: name, hash, day of making\n")
	for _, k := range list {
		fmt.Fprintf(&b, "%s sha256:%s %s\n", k.Name, k.Hash, k.Made)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("%w: %w", ErrKeys, err)
	}
	if err := os.WriteFile(path+".part", []byte(b.String()), 0o600); err != nil {
		return fmt.Errorf("%w: %w", ErrKeys, err)
	}
	if err := os.Rename(path+".part", path); err != nil {
		return fmt.Errorf("%w: %w", ErrKeys, err)
	}
	return nil
}
