package main

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

// Times of watching a file.
const (
	watchQuiet = 300 * time.Millisecond // a file that is still being written is not read
	watchAgain = 30 * time.Second       // for folders that were replaced
	watchPoll  = 2 * time.Second        // where the system does not tell of changes
)

// fileWatch notices when the content of a file changes: written, replaced, or reached over links that
// change. It watches the folders, as editors replace files.
type fileWatch struct {
	path  string
	log   *slog.Logger
	known []byte // content that was told last
	seen  []byte // content at the last look
}

// run sends on changed until ctx is done. A file that is missing or empty has not changed: it is being
// replaced.
func (f *fileWatch) run(ctx context.Context, changed chan<- struct{}) {
	again, events := watchAgain, (<-chan fsnotify.Event)(nil)
	w, err := fsnotify.NewWatcher()
	if err == nil {
		defer func() { _ = w.Close() }() // nothing was written
		events = w.Events
		err = f.folders(w)
	}
	if err != nil {
		f.log.Debug("the system does not tell of changes of the configuration file, it is looked at instead", "file", f.path, "error", err)
		again = watchPoll
	}
	tick := time.NewTicker(again)
	defer tick.Stop()
	look := time.NewTimer(0) // it may have changed since it was read
	defer look.Stop()
	f.seen = f.known
	for waiting := true; ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if w != nil {
				_ = f.folders(w) // a folder that is missing may come back
			}
		case _, ok := <-events:
			if !ok {
				events = nil
			}
		case <-look.C:
			waiting = false
			if f.look() {
				select {
				case changed <- struct{}{}:
				default: // one is waiting to be taken
				}
			}
			if bytes.Equal(f.seen, f.known) {
				continue
			}
		}
		if !waiting {
			waiting = true
			look.Reset(watchQuiet)
		}
	}
}

// folders watches the folder of the file and that of what it links to.
func (f *fileWatch) folders(w *fsnotify.Watcher) error {
	if real, err := filepath.EvalSymlinks(f.path); err == nil {
		_ = w.Add(filepath.Dir(real)) // the other one is what counts
	}
	return w.Add(filepath.Dir(f.path))
}

// look says whether the file has a new content that has not changed since the last look.
func (f *fileWatch) look() bool {
	text, err := os.ReadFile(f.path)
	if err != nil || len(bytes.TrimSpace(text)) == 0 {
		f.seen = f.known
		return false
	}
	stable := bytes.Equal(text, f.seen)
	f.seen = text
	if !stable || bytes.Equal(text, f.known) {
		return false
	}
	f.known = text
	return true
}
