package terminal

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
)

// Bounds of the history file.
const (
	maxEntries    = 1000
	maxEntryBytes = 16 << 10
)

// History is what was typed, the oldest first, kept in a file. A History without a path is not kept.
type History struct {
	path    string
	entries []string
	at      int    // entry that is shown; len(entries): none
	draft   string // what was being typed before
}

// OpenHistory reads a history; a file that is not there is an empty one.
func OpenHistory(path string) (*History, error) {
	h := &History{path: path}
	if path == "" {
		return h, nil
	}
	b, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		return h, err
	}
	s := bufio.NewScanner(bytes.NewReader(b))
	s.Buffer(nil, 8*maxEntryBytes)
	for s.Scan() {
		var e string
		if json.Unmarshal(s.Bytes(), &e) == nil && e != "" { // a broken line is skipped
			h.entries = append(h.entries, Clean(e))
		}
	}
	h.trim()
	return h, nil
}

func (h *History) trim() {
	if n := len(h.entries) - maxEntries; n > 0 {
		h.entries = h.entries[n:]
	}
	h.at = len(h.entries)
}

// Add notes an entry and writes the file.
func (h *History) Add(e string) error {
	if n := len(h.entries); len(e) <= maxEntryBytes && (n == 0 || h.entries[n-1] != e) {
		h.entries = append(h.entries, e)
	}
	h.trim()
	if h.path == "" {
		return nil
	}
	var b bytes.Buffer
	for _, e := range h.entries {
		line, err := json.Marshal(e)
		if err != nil {
			return err
		}
		b.Write(append(line, '\n'))
	}
	if err := os.MkdirAll(filepath.Dir(h.path), 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(h.path+".part", b.Bytes(), 0o600); err != nil {
		return err
	}
	return os.Rename(h.path+".part", h.path)
}

// Move goes to an older (-1) or a newer (1) entry; current is what is being typed. ok: there is one.
func (h *History) Move(step int, current string) (text string, ok bool) {
	to := h.at + step
	if to < 0 || to > len(h.entries) {
		return "", false
	}
	if h.at == len(h.entries) {
		h.draft = current
	}
	if h.at = to; to == len(h.entries) {
		return h.draft, true
	}
	return h.entries[to], true
}
