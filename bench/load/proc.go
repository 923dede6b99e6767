package load

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Children returns the processes whose parent is pid; none where the system has no /proc.
func Children(pid int) (out []int) {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is well-formed
	for _, f := range stats {
		b, err := os.ReadFile(f)
		if err != nil {
			continue // it has just ended
		}
		s := string(b)
		after := strings.Fields(s[strings.LastIndex(s, ")")+1:]) // state, parent, ...
		if len(after) > 1 && after[0] != "Z" && after[1] == strconv.Itoa(pid) {
			child, _ := strconv.Atoi(s[:strings.IndexByte(s, ' ')])
			out = append(out, child)
		}
	}
	return out
}

// Footprint is what a process holds, as /proc has it.
type Footprint struct {
	RSS         float64 // bytes
	Descriptors int
}

// FootprintOf reads it.
func FootprintOf(pid int) (f Footprint, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return f, err
	}
	var size, resident float64
	if _, err := fmt.Sscan(string(b), &size, &resident); err != nil {
		return f, fmt.Errorf("load: /proc/%d/statm: %w", pid, err)
	}
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	return Footprint{resident * float64(os.Getpagesize()), len(open)}, err
}
