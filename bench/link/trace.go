package link

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"sort"
	"strconv"
	"time"
)

// Trace is a recorded link in mahimahi's format (Netravali et al., USENIX ATC 2015): the times, in
// whole milliseconds from its beginning, at which a packet of PacketBytes could be delivered. After the
// last one it begins anew.
type Trace struct {
	times []uint32 // ascending, the last one is the period
	path  string   // where it was read, if so
}

// PacketBytes is what one delivery opportunity carries.
const PacketBytes = 1500

// Bounds of what ReadTrace takes.
const (
	maxTraceLines = 10_000_000
	maxTraceTime  = 1<<31 - 1 // ms
)

// ErrTrace is wrapped by errors about a trace's content.
var ErrTrace = errors.New("this is no trace in mahimahi's format (one time in ms a line, ascending)")

// ReadTrace reads a file.
func ReadTrace(path string) (*Trace, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // was only read
	t, err := ParseTrace(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	t.path = path
	return t, nil
}

// ParseTrace reads a trace. Errors about its content wrap ErrTrace.
func ParseTrace(r io.Reader) (*Trace, error) {
	t := &Trace{}
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 64), 64)
	for n := 1; lines.Scan(); n++ {
		v, err := strconv.ParseUint(lines.Text(), 10, 32)
		switch {
		case n > maxTraceLines:
			return nil, fmt.Errorf("%w: more than %d lines: use a part of it", ErrTrace, maxTraceLines)
		case err != nil || v > maxTraceTime:
			return nil, fmt.Errorf("%w: line %d is %q", ErrTrace, n, lines.Text())
		case len(t.times) > 0 && uint32(v) < t.times[len(t.times)-1]:
			return nil, fmt.Errorf("%w: line %d goes back from %d to %d ms", ErrTrace, n, t.times[len(t.times)-1], v)
		}
		t.times = append(t.times, uint32(v))
	}
	switch err := lines.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return nil, fmt.Errorf("%w: line %d is too long", ErrTrace, len(t.times)+1)
	case err != nil:
		return nil, err
	case len(t.times) == 0:
		return nil, fmt.Errorf("%w: it is empty", ErrTrace)
	case t.period() == 0:
		return nil, fmt.Errorf("%w: it lasts no millisecond", ErrTrace)
	}
	return t, nil
}

func (t *Trace) period() time.Duration { return ms(t.times[len(t.times)-1]) }

func ms(v uint32) time.Duration { return time.Duration(v) * time.Millisecond }

func (t *Trace) file() string {
	if t == nil {
		return ""
	}
	return t.path
}

// Rate is the mean capacity in bits per second.
func (t *Trace) Rate() float64 {
	return float64(len(t.times)) * PacketBytes * 8 / t.period().Seconds()
}

// cursor walks along a trace.
type cursor struct {
	t     *Trace
	cycle int64
	i     int
	left  int // bytes that the opportunity at i still carries
}

func newCursor(t *Trace) cursor { return cursor{t: t, left: PacketBytes} }

func (c *cursor) at() time.Duration { return time.Duration(c.cycle)*c.t.period() + ms(c.t.times[c.i]) }

// take carries n bytes that are there at now, and returns when the last of them has passed. What came
// before now passed unused.
func (c *cursor) take(n int, now time.Duration) time.Duration {
	if c.at() < now {
		period := c.t.period()
		c.cycle = int64(now / period)
		rest := now % period
		c.i = sort.Search(len(c.t.times), func(i int) bool { return ms(c.t.times[i]) >= rest })
		c.left = PacketBytes
	}
	for n > c.left {
		n -= c.left
		if c.i, c.left = c.i+1, PacketBytes; c.i == len(c.t.times) {
			c.i, c.cycle = 0, c.cycle+1
		}
	}
	c.left -= n
	return c.at()
}
