package main

import (
	"strconv"
	"strings"
)

// runAhead is a bound on target passes per token: 0 stands for the default of whoever is asked next.
type runAhead float64

// runAheadOff stands for "off": run-ahead is deferred as long as the protocol allows, never absent.
const runAheadOff = 0.001

// parseRunAhead reads on, off, deferred, default (or nothing) and numbers from 0 (off) to 1.
func parseRunAhead(s string) (runAhead, error) {
	switch strings.ToLower(strings.TrimSpace(s)) {
	case "", "default":
		return 0, nil
	case "off", "deferred":
		return runAheadOff, nil
	case "on":
		return 1, nil
	}
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || !(v >= 0 && v <= 1) {
		return 0, usagef("run-ahead is %q, must be on, off, deferred, default or a number from 0 (off) to 1", s)
	}
	return runAhead(max(v, runAheadOff)), nil
}

func (r runAhead) String() string {
	switch r {
	case 0:
		return "default"
	case runAheadOff:
		return "off"
	case 1:
		return "on"
	}
	return strconv.FormatFloat(float64(r), 'g', -1, 64)
}

// MarshalYAML implements yaml.Marshaler.
func (r runAhead) MarshalYAML() (any, error) { //nolint:unparam // the interface has it
	if r > runAheadOff && r < 1 {
		return float64(r), nil
	}
	return r.String(), nil
}
