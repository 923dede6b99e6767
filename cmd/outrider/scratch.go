package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/gofrs/flock"
)

// scratch is a temporary folder that does not outlive its process for long: the next one of the same user
// removes what a killed one left behind.
type scratch struct {
	dir  string
	lock *flock.Flock
}

// The folders' names, and the file in each that its process holds locked.
const (
	scratchPrefix = "outrider-scratch-"
	scratchLock   = "in-use"
)

// newScratch makes one. Remove it after use.
func newScratch() (*scratch, error) {
	sweepOut(os.TempDir())
	dir, err := os.MkdirTemp("", scratchPrefix)
	if err != nil {
		return nil, err
	}
	s := &scratch{dir: dir, lock: flock.New(filepath.Join(dir, scratchLock))}
	if ok, err := s.lock.TryLock(); !ok || err != nil {
		s.remove()
		return nil, errors.Join(errors.New("cannot lock a new file in "+dir), err)
	}
	return s, nil
}

func (s *scratch) remove() {
	_ = s.lock.Close()      // a folder that is not removed here is by the next process
	_ = os.RemoveAll(s.dir) // as above
}

// sweepOut removes the folders of this user whose process has ended. One without the file is being made.
func sweepOut(temp string) {
	entries, err := os.ReadDir(temp)
	if err != nil {
		return
	}
	for _, e := range entries {
		dir := filepath.Join(temp, e.Name())
		if len(e.Name()) <= len(scratchPrefix) || e.Name()[:len(scratchPrefix)] != scratchPrefix || !mine(dir, fs.ModeDir) {
			continue
		}
		file := filepath.Join(dir, scratchLock)
		if !mine(file, 0) {
			continue
		}
		lock := flock.New(file, flock.SetFlag(os.O_RDWR)) // it is there
		if ok, err := lock.TryLock(); ok && err == nil {
			_ = lock.Close()      // also before it is removed: Windows removes no open file
			_ = os.RemoveAll(dir) // the next process tries again
		}
	}
}

// mine says whether a path is this user's own and of a type, and no link.
func mine(path string, kind fs.FileMode) bool {
	i, err := os.Lstat(path)
	return err == nil && i.Mode().Type() == kind && ownedByUser(i)
}
