package main

import (
	"bytes"
	"context"
	"encoding/json"
	"testing"
)

// A cloud, its plugin, a draft's plugin and a link: the same tokens each way, all figures there.
func TestWAN(t *testing.T) {
	c := newWAN()
	var out bytes.Buffer
	c.SetOut(&out)
	c.SetErr(&out)
	c.SetArgs([]string{"--json", "--rtt", "5ms", "--rounds", "1", "-n", "24", "--target-step", "10ms", "--draft-token", "1ms"})
	if err := c.ExecuteContext(context.Background()); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	var r wanReport
	if err := json.Unmarshal(bytes.TrimSpace(out.Bytes()), &r); err != nil {
		t.Fatalf("%v in %s", err, out.String())
	}
	if !r.Identical || r.RTT != 5 || r.Ratio <= 0 || r.Simulated <= 0 || r.Pipelined <= 0 || r.Passes <= 0 || r.CloudOnly < 10 {
		t.Errorf("got %+v", r)
	}
}
