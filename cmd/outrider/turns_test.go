package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func TestTurns(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	var b strings.Builder
	f := turnsFlags{turns: 3, tokens: 12, repeat: 1, temperature: 1, rtt: 4 * time.Millisecond, asJSON: true}
	if err := runTurns(t.Context(), f, &b); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	var r turnsReport
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &r); err != nil {
		t.Fatal(err)
	}
	for i, row := range r.Turns {
		if later := i > 0; (row.Named > 0) != later || (row.Held > 0) != later || (row.DraftHeld > 0) != later || row.Bytes == 0 || row.First <= 0 {
			t.Errorf("turn %d: %+v", i+1, row)
		}
	}
	if r.Answers != 3 || r.Identical != 3 {
		t.Errorf("%d of %d answers identical", r.Identical, r.Answers)
	}
	if err := runTurns(t.Context(), turnsFlags{}, &b); err == nil {
		t.Error("no turns are accepted")
	}
}
