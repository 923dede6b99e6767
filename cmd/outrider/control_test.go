package main

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestBenchControl(t *testing.T) {
	code, out, errs := outrider(t, "", "bench", "control", "--sessions", "40", "--duration", "1s", "--rate", "20", "--json")
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, errs)
	}
	var r controlReport
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	if r.Tokens != 40*20 || r.Schedule.P50 <= 0 || r.CPUMicrosPerToken <= 0 {
		t.Errorf("report %+v", r)
	}
}

// A tenant's only session is not slower than the many of another that fill the steps.
func TestBenchLoadTenants(t *testing.T) {
	for _, bad := range []string{"a", "a=0", "=3", "a=x"} {
		if code, _, errs := outrider(t, "", "bench", "load", "--tenants", bad); code == 0 || !strings.Contains(errs, "NAME=SESSIONS") {
			t.Errorf("--tenants %s: exit code %d, %s", bad, code, errs)
		}
	}
	code, out, errs := outrider(t, "", "bench", "load", "--tenants", "greedy=30,modest=1", "--max-tokens", "16", "--step", "2ms", "--ramp", "10ms")
	if code != 0 || !strings.Contains(out, "tenant modest") || !strings.Contains(out, "Jain") {
		t.Errorf("exit code %d: %s%s", code, out, errs)
	}
}
