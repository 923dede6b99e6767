// Package router decides where an answer is written: on the device, by draft and target together, or in
// the cloud, and when an answer begun on the device goes on in the cloud. It is pure: facts come in,
// decisions go out. Rules are CEL expressions in a policy file; beside them stands a learned score.
package router

import "slices"

// Facts are what is known when a decision is made, by name. What is not in it is unknown: a rule that
// hangs on it does not hold.
type Facts map[string]any

// Kind is the type of a fact.
type Kind string

// The kinds of facts.
const (
	Number Kind = "number" // float64
	Word   Kind = "word"   // string
	Flag   Kind = "flag"   // bool
	Words  Kind = "words"  // []string
)

// Fact describes a fact.
type Fact struct {
	Name string
	Kind Kind
	Doc  string
}

// Catalogue lists all facts that a rule may use.
func Catalogue() []Fact { return slices.Clone(catalogue[:]) }

var catalogue = [...]Fact{
	{"prompt.tokens", Number, "length of the prompt in tokens of the draft, about"},
	{"prompt.kind", Word, "code, math, question or chat, by its looks"},
	{"prompt.language", Word, "en, de, fr, es, zh, ja, ko, ru, ar or und (not told), by its looks"},
	{"prompt.turns", Number, "messages of the conversation, 1 for a text"},
	{"prompt.tools", Flag, "the answer may call functions"},
	{"prompt.constrained", Flag, "the answer must have a form (JSON, a regular expression, ...)"},
	{"prompt.max_tokens", Number, "longest answer asked for; unknown: no bound"},
	{"private.kinds", Words, "kinds of personal data found in the prompt; unknown: nobody looked"},
	{"link.up", Flag, "the cloud was heard lately"},
	{"link.rtt_ms", Number, "round trip to the cloud, milliseconds"},
	{"cloud.load", Number, "sessions that shared the cloud's last step"},
	{"cloud.queue_ms", Number, "wait for the cloud's last step, milliseconds"},
	{"cloud.pressure", Number, "share of the work that a slow or full cloud is to be spared, 0 to 1; moves gradually"},
	{"lot", Number, "of the request, 0 to 1, evenly spread: `cloud.pressure > lot` holds for that share of them"},
	{"device.battery", Number, "charge, 0 to 1"},
	{"device.charging", Flag, "on mains"},
	{"device.temperature", Number, "of the hottest zone, degrees Celsius"},
	{"device.load", Number, "running processes per core, mean of a minute"},
	{"cost.spent", Number, "estimated cost of the cloud in all, in the unit of the prices; unknown: no prices are set"},
	{"draft.agreement", Number, "share of the draft's choices that were the target's lately, 0 to 1"},
	{"draft.tokens", Number, "tokens of this answer that the draft has written; 0 before it begins"},
	{"draft.confidence", Number, "mean of its confidence over the window, 0.5 (a tie) to 1"},
	{"draft.confidence_min", Number, "the least over the window"},
	{"draft.first", Number, "its confidence in the first token: how sure it is of the prompt"},
	{"draft.done", Flag, "its answer has ended"},
	{"threshold", Number, "the score below which the wanted share of answers lies (edge.router.share); unknown: no share is set"},
	{"score", Number, "learned: how likely the draft's answer is good enough, 0 to 1; unknown: no model was trained"},
}

// Confidence sums up how sure a draft is of what it writes.
type Confidence struct {
	window []float64
	size   int
	count  int
	first  float64
	sum    float64 // of all
}

// NewConfidence looks at the last n tokens, at least one.
func NewConfidence(n int) *Confidence { return &Confidence{size: max(1, n)} }

// Add takes the confidence in the next token.
func (c *Confidence) Add(v float64) {
	if c.count == 0 {
		c.first = v
	}
	c.count++
	c.sum += v
	if c.window = append(c.window, v); len(c.window) > c.size {
		c.window = c.window[1:]
	}
}

// Facts puts in what is known of the draft.
func (c *Confidence) Facts(f Facts) {
	f["draft.tokens"] = float64(c.count)
	if c.count == 0 {
		return
	}
	sum := 0.0
	for _, v := range c.window {
		sum += v
	}
	f["draft.first"], f["draft.confidence"], f["draft.confidence_min"] = c.first, sum/float64(len(c.window)), slices.Min(c.window)
}
