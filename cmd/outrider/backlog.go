package main

import (
	"bytes"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// backlog hands lines to a writer, in order, and never lets those who write them wait: a full disk, one that hangs, or a
// log that nobody reads costs lines, never answers. It is an io.Writer for concurrent use.
type backlog struct {
	w      io.Writer
	failed func(error)   // of the first failure in a row
	lost   func(n int64) // told, when writing works again, of lines that found no room or could not be written
	queue  chan []byte
	missed atomic.Int64
	end    chan struct{}
	close  func() // writes what waits, unless that hangs
	done   chan struct{}
	broken bool // the last one failed,
	torn   bool // in the middle of the line
}

const (
	backlogLines = 4096
	backlogGrace = time.Second
)

// newBacklog begins one; failed and lost may write to it.
func newBacklog(w io.Writer, failed func(error), lost func(n int64)) *backlog {
	b := &backlog{w: w, failed: failed, lost: lost, queue: make(chan []byte, backlogLines), end: make(chan struct{}), done: make(chan struct{})}
	b.close = sync.OnceFunc(func() {
		close(b.end)
		select {
		case <-b.done:
		case <-time.After(backlogGrace):
		}
	})
	go b.run()
	return b
}

// Write takes a line, or counts it as lost.
func (b *backlog) Write(line []byte) (int, error) {
	select {
	case b.queue <- bytes.Clone(line):
	default:
		b.missed.Add(1)
	}
	return len(line), nil
}

func (b *backlog) run() {
	defer close(b.done)
	for {
		select {
		case line := <-b.queue:
			b.put(line)
		case <-b.end:
			for {
				select {
				case line := <-b.queue:
					b.put(line)
				default:
					return
				}
			}
		}
	}
}

func (b *backlog) put(line []byte) {
	if b.torn { // what there is of the line before stays alone
		line = append([]byte("\n"), line...)
	}
	n, err := b.w.Write(line)
	if err != nil {
		b.torn = n > 0 && line[n-1] != '\n' || n == 0 && b.torn
		b.missed.Add(1)
		if !b.broken {
			b.failed(err)
		}
		b.broken = true
		return
	}
	b.torn, b.broken = false, false
	if lost := b.missed.Swap(0); lost > 0 {
		b.lost(lost)
	}
}
