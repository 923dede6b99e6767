package speculative

// Own is what the cloud itself proposes (protocol.md, rule 4): a chain after the likeliest proposal that
// waits, or after the log where none does. The zero value proposes nothing.
//
// It holds: what is proposed costs scoring credit as an edge's proposals do, so a bad source costs no
// more than a bad edge; it never takes the place of a node that waits.
type Own struct {
	// Guess returns the likeliest token after log and path, of the target's vocabulary, and how sure that
	// is; false: nothing is known. It must be a function of log and path, and keep neither.
	Guess func(log, path []Token) (Choice, bool)
	Rows  float64 // what a guess costs besides its own row, in rows; 0: it takes no time
	Most  int     // guesses in a step at most; 0: DefaultOwn
}

// DefaultOwn is how many tokens the cloud proposes in a step at most.
const DefaultOwn = 16

// suggest returns the cloud's own proposals after the likeliest path of nodes, all that wait, at most most.
// One more is taken while it raises the expected tokens per unit of cost of a step that nobody shares, so
// a source that takes time is left alone where an edge's proposals fill the step.
func (v *Verifier) suggest(nodes []*vnode, most int, ratio float64) (out []*vnode) {
	o := &v.c.Own
	if o.Guess == nil || most <= 0 {
		return nil
	}
	if o.Most > 0 {
		most = min(most, o.Most)
	}
	most = min(most, DefaultOwn)
	var tip *vnode
	var path []Token
	value, trust, tokens, cost := 1.0, v.trust.of(), 1.0, max(1, ratio)
	for _, n := range nodes {
		tokens, cost = tokens+trust*n.value, cost+1
		if n.up == tip { // the best child comes first
			tip, path, value = n, append(path, n.token), trust*n.value
		}
	}
	trust = v.ownTrust.of()
	for end := v.c.Ending.MaxLength; len(out) < most && (end == 0 || len(v.log)+len(path) < end); {
		c, ok := o.Guess(v.log, path)
		p := trust * clamp(c.Confidence)
		if !ok || c.Token < 0 || value*p*cost <= tokens*(1+o.Rows) {
			break
		}
		value *= p
		n := &vnode{token: c.Token, pos: len(v.log) + len(path), p: p, up: tip, value: value, own: true}
		tip, path, out = n, append(path, c.Token), append(out, n)
		tokens, cost = tokens+value, cost+1+o.Rows
	}
	return out
}

func values(nodes []*vnode, trust float64) []float64 {
	if len(nodes) == 0 {
		return nil
	}
	out := make([]float64, len(nodes))
	for i, n := range nodes {
		out[i] = trust * n.value
	}
	return out
}

// trust is how far a source's told confidences have been kept: what was accepted against what was promised,
// both forgetting over about 20 passes.
type trust struct{ hits, promised float64 }

// Promises taken as kept at first, and how much of that comes back in a pass that scores nothing.
const (
	trustPrior   = 4.0
	trustReturns = 0.02
)

func newTrust() trust { return trust{trustPrior, trustPrior} }

// of is what a told confidence is worth.
func (t *trust) of() float64 { return min(1, t.hits/max(t.promised, 1e-9)) }

// observe takes the outcome of a pass that scored so many of the source's tokens. What follows one miss is
// lost with it: a pass counts as one promise at most.
func (t *trust) observe(scored, accepted int, promise float64) {
	if scored == 0 { // who is never scored is not distrusted for ever
		t.hits += trustReturns * (trustPrior - t.hits)
		t.promised += trustReturns * (trustPrior - t.promised)
		return
	}
	once := max(1, promise)
	t.hits = t.hits*0.95 + float64(accepted)/once
	t.promised = t.promised*0.95 + promise/once
}
