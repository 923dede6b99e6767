package speculative

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
)

// TestTraces runs the conversations in testdata/traces: commands with what they answer, for people
// to read. After a deliberate change run it with -rewrite and review the difference line by line.
func TestTraces(t *testing.T) {
	datadriven.Walk(t, "testdata/traces", func(t *testing.T, path string) {
		tr := &trace{}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			run, ok := tr.commands()[d.Cmd]
			if !ok {
				d.Fatalf(t, "unknown command %q", d.Cmd)
			}
			tr.d, tr.t = d, t
			out := run()
			if out == "" {
				return "ok"
			}
			return out
		})
	})
}

// trace is one conversation: an edge, a cloud, or both.
type trace struct {
	d       *datadriven.TestData
	t       *testing.T
	edge    *Proposer
	cloud   *Verifier
	config  VerifierConfig
	segment Segment
	pay     payoff
	cal     calibrator
	ender   *Ender
	length  int
}

func (tr *trace) commands() map[string]func() string {
	return map[string]func() string{
		"edge": tr.newEdge, "link": tr.link, "cut": tr.cut, "ready": tr.ready, "drafted": tr.drafted,
		"draft-failed": tr.draftFailed, "commit": tr.commit, "drafts": tr.drafts,
		"cloud": tr.newCloud, "propose": tr.propose, "ack": tr.ack, "offer": tr.offer, "begin": tr.begin,
		"scored": tr.scored, "discard": tr.discard, "lost": tr.lost, "cancel": tr.cancel, "replay": tr.replay,
		"resume": tr.resume, "inherit": tr.inherit, "nodes": tr.nodes, "usage": tr.usage,
		"plan": tr.plan, "pay": tr.payoff, "calibrate": tr.calibrate, "ending": tr.ending, "text": tr.text,
	}
}

// Arguments: name=value or name=(a, b, c); a missing one is the zero value.

func (tr *trace) has(key string) bool { return tr.d.HasArg(key) }

func (tr *trace) list(key string) []string {
	for _, a := range tr.d.CmdArgs {
		if a.Key == key {
			return a.Vals
		}
	}
	return nil
}

func (tr *trace) str(key string) string { return strings.Join(tr.list(key), " ") }

func (tr *trace) num(key string) int {
	if !tr.has(key) {
		return 0
	}
	n, err := strconv.Atoi(tr.str(key))
	if err != nil {
		tr.d.Fatalf(tr.t, "%s: %v", key, err)
	}
	return n
}

func (tr *trace) real(key string) float64 {
	if !tr.has(key) {
		return 0
	}
	f, err := strconv.ParseFloat(tr.str(key), 64)
	if err != nil {
		tr.d.Fatalf(tr.t, "%s: %v", key, err)
	}
	return f
}

func (tr *trace) time(key string) time.Duration {
	if !tr.has(key) {
		return 0
	}
	v, err := time.ParseDuration(tr.str(key))
	if err != nil {
		tr.d.Fatalf(tr.t, "%s: %v", key, err)
	}
	return v
}

func (tr *trace) tokens(key string) (out []Token) {
	for _, v := range tr.list(key) {
		n, err := strconv.Atoi(v)
		if err != nil {
			tr.d.Fatalf(tr.t, "%s: %v", key, err)
		}
		out = append(out, Token(n))
	}
	return out
}

func (tr *trace) finish() Finish {
	for f := NotFinished; f <= FinishCancelled; f++ {
		if f.String() == tr.str("finish") {
			return f
		}
	}
	tr.d.Fatalf(tr.t, "unknown finish %q", tr.str("finish"))
	return NotFinished
}

func (tr *trace) fates(n int) (out []Fate) {
	names := tr.list("fates")
	for i := range n {
		f := FateUnknown
		for k := FateUnknown; k <= RunAhead && len(names) > 0; k++ {
			if k.String() == names[min(i, len(names)-1)] {
				f = k
			}
		}
		out = append(out, f)
	}
	return out
}

// The edge.

func (tr *trace) newEdge() string {
	tr.edge = NewProposer(ProposerConfig{MaxLength: tr.num("max"), DraftContext: tr.num("context"), Window: tr.num("window"),
		EndTokens: tr.tokens("end"), MinPath: tr.real("minpath"), Depth: tr.num("depth"), Gap: tr.time("gap"),
		Branches: tr.has("branches")}, tr.tokens("prompt"))
	return ""
}

func (tr *trace) link() string { tr.edge.LinkUp(tr.num("window")); return "" }
func (tr *trace) cut() string  { tr.edge.LinkDown(); return "" }

func (tr *trace) ready() string {
	r := tr.edge.Ready(tr.time("now"))
	var out []string
	if r.Draft != nil {
		out = append(out, fmt.Sprintf("draft after %v", append([]Token{}, r.Draft.Path...)))
	}
	if r.Ack > 0 {
		out = append(out, fmt.Sprintf("ack %d", r.Ack))
	}
	if r.Send != nil {
		out = append(out, proposalString(r.Send))
	}
	if r.Wake > 0 {
		out = append(out, fmt.Sprintf("wake at %v", r.Wake))
	}
	if len(out) == 0 {
		return "nothing"
	}
	return strings.Join(out, "\n")
}

func proposalString(m *Propose) string {
	s := fmt.Sprintf("propose epoch %d first %d %v", m.Epoch, m.First, m.Tokens)
	if m.Parents != nil {
		s += fmt.Sprintf(" parents %v", m.Parents)
	}
	return s + fmt.Sprintf(" confidence %.2f", m.Confidence)
}

func (tr *trace) drafted() string {
	if tr.edge.drafting == nil {
		return "nothing was asked for"
	}
	c := Choice{Token: Token(tr.num("token")), Second: -1, Confidence: float32(tr.real("confidence"))}
	if tr.has("second") {
		c.Second = Token(tr.num("second"))
	}
	tr.edge.Drafted(tr.edge.drafting.id, c, tr.time("took"))
	return ""
}

func (tr *trace) draftFailed() string {
	if tr.edge.drafting != nil {
		tr.edge.DraftFailed(tr.edge.drafting.id)
	}
	return ""
}

func (tr *trace) commit() string {
	t := tr.tokens("tokens")
	if err := tr.edge.Commit(Commit{Start: tr.num("start"), Tokens: t, Fates: tr.fates(len(t)), Finish: tr.finish()}); err != nil {
		return err.Error()
	}
	s := fmt.Sprintf("log %v", tr.edge.Log())
	for _, f := range tr.edge.Fates() {
		if f.Late {
			s += " late"
		} else {
			s += " " + f.Fate.String()
		}
	}
	if f := tr.edge.Finished(); f != NotFinished {
		s += ", finished: " + f.String()
	}
	return s
}

func (tr *trace) drafts() string {
	var b strings.Builder
	fmt.Fprintf(&b, "epoch %d, depth up to %d", tr.edge.epoch, tr.edge.Stats().Depth)
	depth := map[int]int{-1: 0}
	for i, d := range tr.edge.Drafts() {
		depth[i] = depth[d.Parent] + 1
		state := "unsent"
		if d.Number >= 0 {
			state = fmt.Sprintf("node %d", d.Number)
		}
		fmt.Fprintf(&b, "\n%s%d at %d: %s", strings.Repeat("  ", depth[i]), d.Token, d.Position, state)
	}
	return b.String()
}
