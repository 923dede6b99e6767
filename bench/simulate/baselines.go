package simulate

import (
	"time"

	"github.com/outrider-llm/outrider/backend/mock"
	"github.com/outrider-llm/outrider/bench/link"
	"github.com/outrider-llm/outrider/speculative"
)

// maxDepth bounds the search for a baseline's best depth.
const maxDepth = 40

// synchronous drafts k tokens, sends them and waits for the verdict, with the k that is best for this
// very link and pair (no system knows it beforehand). Sessions do not share the target here.
func synchronous(c Config) Outcome {
	return bestDepth(c, true)
}

// colocated runs the same draft beside the target, which waits for it, and streams the tokens.
func colocated(c Config) Outcome {
	return bestDepth(c, false)
}

func row(c Config, rows int) time.Duration {
	t := c.Model.Target
	return t.Step + t.Sequence + time.Duration(rows)*t.Position
}

// bestDepth runs the loop at each depth; apart: over the link, each round.
func bestDepth(c Config, apart bool) (best Outcome) {
	table := mock.Beta(c.Model.Agreement, c.Model.Spread)
	for k := 1; k <= maxDepth; k++ {
		var o Outcome
		for id := range max(1, c.Sessions) {
			p := pair{seed: mix(c.Seed+1, uint64(id)), m: &c.Model, table: table, prompt: c.Prompt}
			r := Session{First: c.Link.RTT + row(c, 1)}
			now := row(c, c.Prompt-1)
			if !apart {
				now += c.Link.RTT // once, the tokens are streamed
			}
			way := c.Link
			way.Seed = p.seed
			up, down := way.Lanes()
			var upFlow, downFlow link.Flow
			for r.Tokens < c.Tokens {
				accepted := 0
				for accepted < k && hits(&p, c.Prompt+r.Tokens+accepted) {
					accepted++
				}
				accepted = min(accepted, c.Tokens-r.Tokens-1)
				r.Usage.Passes++
				r.Usage.ScoringPasses++
				r.Usage.Judged += k
				r.Usage.Accepted += accepted
				r.Usage.Positions += k + 1
				r.Sent += k
				r.Messages++
				size := proposeBytes(&speculative.Propose{Epoch: c.Prompt + r.Tokens, Tokens: drafted(&p, c.Prompt+r.Tokens, k)})
				r.Uplink += size
				r.Tokens += accepted + 1
				if now += time.Duration(k) * c.Model.Draft; apart {
					now = up.Deliver(&upFlow, size+frameBytes, now)
				}
				if now += row(c, k+1); apart {
					now = down.Deliver(&downFlow, commitBytes(accepted+1), now)
				}
				o.Busy += row(c, k+1)
				o.Steps++
			}
			r.Done = now
			o.Sessions = append(o.Sessions, r)
			o.End = max(o.End, now)
		}
		if best.Steps == 0 || total(o) < total(best) {
			best = o
		}
	}
	return best
}

func hits(p *pair, pos int) bool { first, _ := p.hit(pos); return first }

func drafted(p *pair, pos, k int) []Token {
	out := make([]Token, k)
	for i := range out {
		out[i] = p.target(pos + i)
	}
	return out
}

func total(o Outcome) (d time.Duration) {
	for _, s := range o.Sessions {
		d += s.Done
	}
	return d
}
