package suffix

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// magic begins the file and names the version of its form: the number of partitions; of each user, label
// and vocabulary with their lengths, when it was used, the number of tokens and each token + 1 (all varints); the
// CRC-32 (IEEE) of all before, little-endian.
const magic = "outrider-suffix-1\n"

// ErrFile is wrapped by errors that say why a file cannot be used.
var ErrFile = errors.New("no file of learned drafts")

// maxFile is more bytes than a store within its bounds takes.
const maxFile = 5*(MaxTokens+maxParts) + maxParts*(3*maxName+64)

type stamp struct {
	size int64
	at   time.Time
}

func stampOf(path string) stamp {
	i, err := os.Stat(path)
	if err != nil {
		return stamp{}
	}
	return stamp{i.Size(), i.ModTime()}
}

// Open reads a store from its file, which need not exist. With an error that wraps ErrFile the store is empty and
// can be used; the next Save replaces the file.
func Open(path string) (*Store, error) {
	s := New()
	s.path = path
	s.seen = stampOf(path)
	parts, err := read(path)
	if err != nil {
		return s, err
	}
	s.parts = parts
	s.synced = keys(parts)
	return s, nil
}

func keys(parts map[Key]*part) map[Key]bool {
	out := map[Key]bool{}
	for k := range parts {
		out[k] = true
	}
	return out
}

func read(path string) (map[Key]*part, error) {
	i, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return map[Key]*part{}, nil
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrFile, err)
	case !i.Mode().IsRegular() || i.Size() > maxFile:
		return nil, fmt.Errorf("%w: %s has %d bytes, or is no plain file", ErrFile, path, i.Size())
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFile, err)
	}
	parts, err := parse(data)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrFile, path, err)
	}
	return parts, nil
}

// sync drops what another process has taken out of the file since. Call with the lock held.
func (s *Store) sync() {
	if s.path == "" {
		return
	}
	now := stampOf(s.path)
	if now == s.seen {
		return
	}
	parts, err := read(s.path)
	if err != nil {
		return // the next Save replaces it
	}
	for k := range s.synced {
		if parts[k] == nil {
			delete(s.parts, k)
		}
	}
	s.synced, s.seen = keys(parts), now
}

// Save writes the file when there is something new: whole or not at all, for the owner's eyes only.
func (s *Store) Save() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.path == "" || !s.dirty {
		return nil
	}
	s.sync()
	if err := replace(s.path, format(s.parts)); err != nil {
		return fmt.Errorf("cannot save learned drafts: %w", err)
	}
	s.dirty, s.synced, s.seen = false, keys(s.parts), stampOf(s.path)
	return nil
}

func replace(path string, data []byte) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, filepath.Base(path)+".*") // 0600
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name()) // what failed before matters
	}
	return err
}

func format(parts map[Key]*part) []byte {
	out := binary.AppendUvarint([]byte(magic), uint64(len(parts)))
	for _, k := range slices.SortedFunc(maps.Keys(parts), Key.compare) {
		for _, name := range [...]string{k.User, k.Label, k.Vocabulary} {
			out = append(binary.AppendUvarint(out, uint64(len(name))), name...)
		}
		p := parts[k]
		out = binary.AppendUvarint(out, uint64(max(0, p.used)))
		out = binary.AppendUvarint(out, uint64(len(p.text)))
		for _, t := range p.text {
			out = binary.AppendUvarint(out, uint64(int64(t)+1))
		}
	}
	return binary.LittleEndian.AppendUint32(out, crc32.ChecksumIEEE(out))
}

var errShort = errors.New("it ends too early")

func parse(data []byte) (map[Key]*part, error) {
	if !bytes.HasPrefix(data, []byte(magic)) {
		return nil, errors.New("it was written by another version, or is something else")
	}
	if len(data) < len(magic)+4 {
		return nil, errShort
	}
	body := data[:len(data)-4]
	if crc32.ChecksumIEEE(body) != binary.LittleEndian.Uint32(data[len(body):]) {
		return nil, errors.New("it is damaged")
	}
	r := reader{data: body[len(magic):]}
	parts, total := map[Key]*part{}, 0
	for range r.number(maxParts) {
		k := Key{r.name(), r.name(), r.name()}
		used := r.number(math.MaxInt64)
		text := make([]Token, 0, min(r.number(MaxPart), uint64(len(r.data))))
		for range r.last {
			text = append(text, Token(int64(r.number(math.MaxInt32))-1))
		}
		if total += len(text); r.bad || total > MaxTokens || len(text) == 0 || text[len(text)-1] != gap || parts[k] != nil {
			return nil, errors.New("it breaks its own rules")
		}
		parts[k] = newPart(text, int64(used))
	}
	if r.bad || len(r.data) > 0 {
		return nil, errors.New("it breaks its own rules")
	}
	return parts, nil
}

// reader reads numbers; once one is bad all are 0.
type reader struct {
	data []byte
	last uint64
	bad  bool
}

func (r *reader) number(most uint64) uint64 {
	v, n := binary.Uvarint(r.data)
	if n <= 0 || v > most || r.bad {
		r.bad, r.data, r.last = true, nil, 0
		return 0
	}
	r.data, r.last = r.data[n:], v
	return v
}

func (r *reader) name() string {
	n := r.number(maxName)
	if n > uint64(len(r.data)) {
		r.bad, r.data = true, nil
		return ""
	}
	s := string(r.data[:n])
	r.data = r.data[n:]
	return s
}
