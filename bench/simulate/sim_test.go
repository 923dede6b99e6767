package simulate

import (
	"context"
	"testing"
	"time"

	"github.com/outrider-llm/outrider/speculative"
)

func standard(rtt time.Duration) Config {
	return Config{Seed: 1, Strategy: Cooperative, Sessions: 1, Prompt: 16, Tokens: 600, Branches: true,
		Link: Link{RTT: rtt},
		Model: Model{Target: speculative.Cost{Step: 40 * time.Millisecond, Position: 300 * time.Microsecond}, Draft: 4 * time.Millisecond,
			Agreement: 0.8, Spread: 1.5, Second: 0.5, Confidence: Calibrated}}
}

var lastStats string

func ratio(t *testing.T, c Config) (float64, float64, float64) {
	var drafted, sent, msgs, packed float64
	var sum, alone, n float64
	var u speculative.Usage
	up := 0
	for seed := range uint64(60) {
		c.Seed = seed
		o, err := Run(context.Background(), c)
		if err != nil {
			t.Fatal(err)
		}
		a := c
		a.Strategy = CloudOnly
		b, err := Run(context.Background(), a)
		if err != nil {
			t.Fatal(err)
		}
		for i := range o.Sessions {
			sum += float64(o.Sessions[i].Done)
			alone += float64(b.Sessions[i].Done)
			u.Passes += o.Sessions[i].Usage.Passes
			n += float64(o.Sessions[i].Tokens)
			drafted += float64(o.Sessions[i].Drafted)
			sent += float64(o.Sessions[i].Sent)
			msgs += float64(o.Sessions[i].Messages)
			packed += float64(o.Sessions[i].Packed)
			up += o.Sessions[i].Uplink
		}
	}
	lastStats = fmtF(drafted/n) + "d " + fmtF(sent/n) + "n " + fmtF(msgs/n) + "m " + fmtF(packed/n) + "B"
	return sum / alone, float64(u.Passes) / n, float64(up) / n
}

func TestTable(t *testing.T) {
	for _, rtt := range []time.Duration{10, 50, 100, 200} {
		for _, s := range []Strategy{Synchronous, Colocated, Pipelined, Cooperative, Oracle} {
			c := standard(rtt * time.Millisecond)
			c.Strategy = s
			r, p, b := ratio(t, c)
			t.Logf("RTT %d %-12s ratio %.3f passes %.2f bytes %.1f", rtt, s, r, p, b)
		}
	}
}
