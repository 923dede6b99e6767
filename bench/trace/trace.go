// Package trace holds what a real pair of models said, position by position: how sure the draft was of
// its choice, and whether the target chose the same. "outrider bench record" writes such files,
// "outrider simulate --agreement trace:FILE" replays them.
package trace

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strings"
)

// Outcomes of a position.
const (
	Miss   = '0'
	Hit    = '1' // the draft's first choice was the target's
	Second = '2' // its second choice was
)

// Header is a file's first line.
type Header struct {
	Format      int     `json:"trace"` // 1
	Target      string  `json:"target"`
	Draft       string  `json:"draft"`
	Temperature float32 `json:"temperature"`
	Workload    string  `json:"workload,omitempty"`
	Version     string  `json:"version,omitempty"`
}

// Session is one prompt's generated text, one line of a file.
type Session struct {
	Prompt     string    `json:"prompt,omitempty"` // its id
	Task       string    `json:"task,omitempty"`
	Outcome    string    `json:"outcome"`    // one of Miss, Hit, Second for each position
	Confidence []float32 `json:"confidence"` // of the draft in its first choice, 0 to 1, as told
}

// Set is a whole file.
type Set struct {
	Header   Header
	Sessions []Session
}

// ErrTrace is wrapped by errors that say what is wrong with a file.
var ErrTrace = errors.New("cannot read the trace")

// Bounds of what is read.
const (
	format       = 1
	maxLine      = 16 << 20
	maxPositions = 64 << 20
)

// Read reads a file's text. Errors wrap ErrTrace and name the line.
func Read(r io.Reader) (*Set, error) {
	in := bufio.NewScanner(r)
	in.Buffer(nil, maxLine)
	set, all := &Set{}, 0
	for line := 1; in.Scan(); line++ {
		b := bytes.TrimSpace(in.Bytes())
		if len(b) == 0 {
			continue
		}
		bad := func(err error) error { return fmt.Errorf("%w: line %d: %w", ErrTrace, line, err) }
		if set.Header.Format == 0 {
			if err := json.Unmarshal(b, &set.Header); err != nil {
				return nil, bad(err)
			}
			if set.Header.Format != format {
				return nil, bad(fmt.Errorf("no header of a trace of format %d: make one with `outrider bench record`", format))
			}
			continue
		}
		var s Session
		if err := json.Unmarshal(b, &s); err != nil {
			return nil, bad(err)
		}
		if err := s.validate(); err != nil {
			return nil, bad(err)
		}
		if all += len(s.Outcome); all > maxPositions {
			return nil, bad(fmt.Errorf("more than %d positions", maxPositions))
		}
		set.Sessions = append(set.Sessions, s)
	}
	if err := in.Err(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTrace, err)
	}
	if len(set.Sessions) == 0 {
		return nil, fmt.Errorf("%w: no sessions in it", ErrTrace)
	}
	return set, nil
}

func (s *Session) validate() error {
	switch {
	case s.Outcome == "":
		return errors.New("a session without positions")
	case len(s.Outcome) != len(s.Confidence):
		return fmt.Errorf("%d outcomes and %d confidences", len(s.Outcome), len(s.Confidence))
	case strings.Trim(s.Outcome, "012") != "":
		return errors.New("outcomes are 0 (miss), 1 (hit) or 2 (the second choice)")
	}
	for _, c := range s.Confidence {
		if !(c >= 0 && c <= 1) {
			return fmt.Errorf("a confidence of %g is not between 0 and 1", c)
		}
	}
	return nil
}

// ReadFile reads a file, .gz or plain.
func ReadFile(path string) (*Set, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTrace, err)
	}
	defer func() { _ = f.Close() }() // it was only read
	var r io.Reader = f
	if strings.HasSuffix(path, ".gz") {
		z, err := gzip.NewReader(f)
		if err != nil {
			return nil, fmt.Errorf("%w %s: %w", ErrTrace, path, err)
		}
		r = z
	}
	set, err := Read(r)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return set, nil
}

// Write writes a set as Read reads it.
func (s *Set) Write(w io.Writer) error {
	out := json.NewEncoder(w)
	s.Header.Format = format
	if err := out.Encode(s.Header); err != nil {
		return err
	}
	for _, x := range s.Sessions {
		for i, c := range x.Confidence {
			x.Confidence[i] = float32(math.Round(float64(c)*1e4) / 1e4)
		}
		if err := out.Encode(x); err != nil {
			return err
		}
	}
	return nil
}

// Rates are the share of positions whose first choice held, and of the others that whose second did.
func (s *Set) Rates() (first, second float64, positions int) {
	hits, seconds := 0, 0
	for _, x := range s.Sessions {
		positions += len(x.Outcome)
		hits += strings.Count(x.Outcome, string(Hit))
		seconds += strings.Count(x.Outcome, string(Second))
	}
	if missed := positions - hits; missed > 0 {
		second = float64(seconds) / float64(missed)
	}
	return float64(hits) / float64(max(1, positions)), second, positions
}

// Length is the mean number of tokens that a pass commits when k are drafted at a time.
func (s *Set) Length(k int) float64 {
	tokens, passes := 0, 0
	for _, x := range s.Sessions {
		for i := 0; i < len(x.Outcome); passes++ {
			n := 0
			for n < k && i+n < len(x.Outcome) && x.Outcome[i+n] == Hit {
				n++
			}
			n = min(n+1, len(x.Outcome)-i)
			tokens, i = tokens+n, i+n
		}
	}
	return float64(tokens) / float64(max(1, passes))
}
