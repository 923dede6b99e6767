package speculative

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// The cloud's half of the commands of TestTraces.

func (tr *trace) newCloud() string {
	tr.config = VerifierConfig{PromptLength: tr.num("prompt"), Window: tr.num("window"), Credit: tr.num("credit"),
		MaxPassesPerToken: tr.real("passes"), Patience: tr.real("patience"), Defer: tr.time("defer"), Ending: tr.newEnding()}
	tr.cloud = NewVerifier(tr.config, tr.tokens("log"))
	if f := tr.cloud.Finished(); f != NotFinished {
		return "finished: " + f.String()
	}
	return ""
}

func (tr *trace) newEnding() Ending {
	return Ending{MaxLength: tr.num("max"), EndTokens: tr.tokens("end"), Stop: tr.list("stop"),
		Piece: func(t Token) []byte { return []byte{byte('a' + t)} }}
}

func (tr *trace) propose() string {
	m := &Propose{Epoch: tr.num("epoch"), First: tr.num("first"), Tokens: tr.tokens("tokens"), Parents: tr.tokens("parents")}
	for _, v := range tr.list("confidence") {
		f, err := strconv.ParseFloat(v, 32)
		if err != nil {
			tr.d.Fatalf(tr.t, "confidence: %v", err)
		}
		m.Confidence = append(m.Confidence, float32(f))
	}
	if err := tr.cloud.Propose(tr.time("now"), m); err != nil {
		return err.Error()
	}
	return tr.nodes()
}

func (tr *trace) nodes() string {
	if len(tr.cloud.nodes.live) == 0 {
		return "none wait"
	}
	var out []string
	for _, n := range tr.cloud.nodes.live {
		s := fmt.Sprintf("node %d (token %d at %d)", n.number, n.token, n.pos)
		if n.up != nil {
			s += fmt.Sprintf(" after node %d", n.up.number)
		}
		out = append(out, s)
	}
	return strings.Join(out, "\n")
}

func (tr *trace) ack() string {
	if err := tr.cloud.Ack(tr.num("n")); err != nil {
		return err.Error()
	}
	return ""
}

// ratio is that of a step of 40 ms and 0.4 ms a row.
func (tr *trace) ratio() float64 {
	if tr.has("ratio") {
		return tr.real("ratio")
	}
	return 101
}

func (tr *trace) offer() string {
	o := tr.cloud.Offer(tr.time("now"), tr.ratio())
	switch {
	case o.Prefill > 0:
		return fmt.Sprintf("%d rows of the log", o.Prefill)
	case o.Ready && len(o.Values) == 0:
		return "run-ahead"
	case o.Ready:
		return fmt.Sprintf("nodes worth %.3f", o.Values)
	case o.Wake > 0:
		return fmt.Sprintf("nothing until %v", o.Wake)
	}
	return "nothing"
}

func (tr *trace) begin() string {
	tr.segment = tr.cloud.Begin(tr.num("n"))
	s := fmt.Sprintf("run %v at %d", tr.segment.Tokens, tr.segment.Start)
	if tr.segment.Parents != nil {
		s += fmt.Sprintf(" parents %v", tr.segment.Parents)
	}
	if tr.segment.Keep != nil {
		s += fmt.Sprintf(", keep rows %v of the last tree", tr.segment.Keep)
	}
	if tr.segment.Prefill {
		s += ", no choices"
	}
	return s
}

func (tr *trace) scored() string {
	var choices []Choice
	for _, t := range tr.tokens("choices") {
		choices = append(choices, Choice{Token: t})
	}
	c, err := tr.cloud.Scored(tr.time("now"), tr.segment, choices, tr.ratio())
	if err != nil {
		return err.Error()
	}
	return commitString(c)
}

func commitString(c Commit) string {
	if len(c.Tokens) == 0 && c.Finish == NotFinished {
		return "no commit"
	}
	s := fmt.Sprintf("commit at %d:", c.Start)
	for i, t := range c.Tokens {
		s += fmt.Sprintf(" %d (%s)", t, c.Fates[i])
	}
	if c.Finish != NotFinished {
		s += ", finished: " + c.Finish.String()
	}
	return s
}

func (tr *trace) discard() string { tr.cloud.Discard(tr.segment, tr.has("lost")); return "" }
func (tr *trace) lost() string    { tr.cloud.Lost(); return "" }
func (tr *trace) cancel() string  { tr.cloud.Cancel(FinishCancelled); return "" }

func (tr *trace) replay() string {
	c, ok := tr.cloud.Replay(tr.num("from"))
	if !ok {
		return "nothing"
	}
	return commitString(c)
}

// resume opens a new stream with the edge's log; with "fresh" on a cloud that does not know the session.
func (tr *trace) resume() string {
	v := NewVerifier(tr.config, tr.tokens("log"))
	if !tr.has("fresh") {
		v.Adopt(tr.cloud)
	}
	tr.cloud = v
	return fmt.Sprintf("log %v, the model holds %d rows, %s", v.Log(), v.Held(), tr.nodes())
}

// inherit opens another session, whose log may begin like that of the one before.
func (tr *trace) inherit() string {
	left := tr.cloud.Prefix()
	tr.config.PromptLength = tr.num("prompt")
	tr.cloud = NewVerifier(tr.config, tr.tokens("log"))
	tr.cloud.Inherit(left)
	return fmt.Sprintf("the model holds %d rows", tr.cloud.Held())
}

func (tr *trace) usage() string { return fmt.Sprintf("%+v", tr.cloud.Usage()) }

// plan reads a bid a line: "name prompt N" or "name value value ...", with "behind" and "since=N".
func (tr *trace) plan() string {
	var bids []Bid
	var names []string
	for _, line := range strings.Split(strings.TrimSpace(tr.d.Input), "\n") {
		words := strings.Fields(line)
		b := Bid{Offer: Offer{Ready: true}}
		for i, w := range words[1:] {
			since, isSince := strings.CutPrefix(w, "since=")
			f, err := strconv.ParseFloat(strings.TrimPrefix(w, "since="), 64)
			switch {
			case w == "behind":
				b.Behind = true
			case w == "idle":
				b.Ready = false
			case w == "prompt":
			case err != nil:
				tr.d.Fatalf(tr.t, "%s: %v", since, err)
			case isSince:
				b.Since = time.Duration(f)
			case words[i] == "prompt":
				b.Prefill = int(f)
			default:
				b.Values = append(b.Values, f)
			}
		}
		bids, names = append(bids, b), append(names, words[0])
	}
	grants := Plan(bids, Limits{Positions: tr.num("positions"), Sequences: tr.num("sequences"), Prefill: tr.num("prefill")},
		Cost{Step: tr.time("step"), Sequence: tr.time("sequence"), Position: tr.time("position")})
	var out []string
	for _, g := range grants {
		if bids[g.Bid].Prefill > 0 {
			out = append(out, fmt.Sprintf("%s: %d prompt rows", names[g.Bid], g.N))
		} else {
			out = append(out, fmt.Sprintf("%s: the root and %d nodes", names[g.Bid], g.N))
		}
	}
	return strings.Join(out, "\n")
}

// Depth control and endings.

func (tr *trace) payoff() string {
	tr.length += tr.num("tokens")
	rounds := max(1, tr.num("decided")/5) // in which they were decided
	agreed, accepted, left := tr.num("agreed"), tr.num("accepted"), tr.num("decided")
	for ; rounds > 0; rounds-- {
		n := left / rounds
		left -= n
		tr.pay.observe(agreed-agreed*(rounds-1)/rounds, accepted-accepted*(rounds-1)/rounds, n, tr.length)
		agreed, accepted = agreed*(rounds-1)/rounds, accepted*(rounds-1)/rounds
	}
	if tr.pay.drafting(tr.length) {
		return fmt.Sprintf("at %d: drafting", tr.length)
	}
	return fmt.Sprintf("at %d: paused until %d", tr.length, tr.pay.resumeAt)
}

func (tr *trace) calibrate() string {
	raw := float32(tr.real("raw"))
	for range tr.num("hits") {
		tr.cal.observe(raw, true, false)
	}
	for range tr.num("misses") {
		tr.cal.observe(raw, false, tr.has("covered"))
	}
	return fmt.Sprintf("first choice %.2f, second %.2f", tr.cal.first(raw), tr.cal.second(raw))
}

func (tr *trace) ending() string {
	tr.ender, tr.length = NewEnder(tr.newEnding()), 0
	return ""
}

// text pushes tokens, written as the letters of their pieces.
func (tr *trace) text() string {
	for _, r := range tr.str("is") {
		tr.length++
		if f := tr.ender.Push(r-'a', tr.length); f != NotFinished {
			return fmt.Sprintf("%s after %q at length %d", f, r, tr.length)
		}
	}
	return "goes on"
}
