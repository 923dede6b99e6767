package edge

import (
	"encoding/json"
	"maps"
	"sync"
	"time"

	"github.com/outrider-llm/outrider/edge/sensors"
	"github.com/outrider-llm/outrider/speculative"
)

// Prices are what the cloud's work costs, per million, in a unit of the operator's choice.
type Prices struct {
	Input    float64 // prompt tokens that the target runs
	Output   float64 // tokens that the target decides
	Pass     float64 // target passes
	Position float64 // tokens that it scores
}

// Origins counts tokens by how they came.
type Origins struct {
	Device     int `json:"device"` // the draft alone, unverified
	Accepted   int `json:"accepted"`
	Correction int `json:"correction"`
	Bonus      int `json:"bonus"`
	RunAhead   int `json:"run_ahead"`
}

func (o *Origins) add(t GeneratedToken) {
	switch {
	case t.Unverified:
		o.Device++
	case t.Fate == speculative.Accepted:
		o.Accepted++
	case t.Fate == speculative.Correction:
		o.Correction++
	case t.Fate == speculative.Bonus:
		o.Bonus++
	case t.Fate == speculative.RunAhead:
		o.RunAhead++
	}
}

// confirm counts a token of the device that the target said, too.
func (o *Origins) confirm() { o.Device, o.Accepted = o.Device-1, o.Accepted+1 }

func (o *Origins) cloud() int { return o.Accepted + o.Correction + o.Bonus + o.RunAhead }

func (o *Origins) sum(p Origins) {
	o.Device, o.Accepted, o.Correction = o.Device+p.Device, o.Accepted+p.Accepted, o.Correction+p.Correction
	o.Bonus, o.RunAhead = o.Bonus+p.Bonus, o.RunAhead+p.RunAhead
}

const million = 1e6

// cost estimates what an answer has cost, and what the target alone would have: one pass, and one position
// of it, per token. Held rows of the prompt cost nothing either way. A session that broke off tells no
// work; it counts as none.
func (p Prices) cost(s *Summary) (cost, alone float64) {
	u := &s.Usage
	input := u.Prefilled
	if s.Origins.cloud() == 0 && u.Passes == 0 {
		input = s.PromptTokens - min(s.Prefix, s.PromptTokens)
	}
	cost = p.Input*float64(u.Prefilled) + p.Output*float64(s.Origins.cloud()) + p.Pass*float64(u.Passes) + p.Position*float64(u.Positions)
	alone = p.Input*float64(input) + (p.Output+p.Pass+p.Position)*float64(s.Tokens)
	return cost / million, alone / million
}

// Totals are what all answers together have taken.
type Totals struct {
	Since         time.Time      `json:"since"`
	Answers       int            `json:"answers"`
	Where         map[string]int `json:"where"` // answers by where they ended
	Escalated     int            `json:"escalated"`
	PromptTokens  int            `json:"prompt_tokens"`
	Tokens        int            `json:"tokens"`
	Origins       Origins        `json:"origins"`
	Passes        int            `json:"target_passes"`
	Positions     int            `json:"target_positions"`
	Prefilled     int            `json:"target_prefilled"`
	Uplink        int            `json:"uplink_bytes"` // opening included
	Downlink      int            `json:"downlink_bytes"`
	Cost          float64        `json:"cost"`
	CostCloudOnly float64        `json:"cost_cloud_only"` // estimated for the same tokens
	Joules        float64        `json:"device_joules"`   // of the whole device, since it was looked at first
	EnergyKnown   bool           `json:"device_joules_known"`
	Priced        bool           `json:"priced"` // costs mean something
}

// Saved is the estimated cost that the target alone would have had beyond what was spent.
func (t Totals) Saved() float64 { return t.CostCloudOnly - t.Cost }

// Ledger keeps the totals; it outlives configurations. Its methods are safe for concurrent use.
type Ledger struct {
	mu      sync.Mutex
	t       Totals
	sensors *sensors.Sensors // nil: no energy is known
	earlier float64          // joules before this run
}

// NewLedger begins at nothing.
func NewLedger(s *sensors.Sensors) *Ledger {
	return &Ledger{t: Totals{Since: time.Now(), Where: map[string]int{}}, sensors: s}
}

// Load goes on from what Totals gave as JSON.
func (l *Ledger) Load(text []byte) error {
	var t Totals
	if err := json.Unmarshal(text, &t); err != nil {
		return err
	}
	if t.Where == nil {
		t.Where = map[string]int{}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.t, l.earlier = t, t.Joules
	return nil
}

// Totals are those of now.
func (l *Ledger) Totals() Totals {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.t
	t.Where = maps.Clone(t.Where)
	if j, ok := l.joules(); ok {
		t.Joules, t.EnergyKnown = l.earlier+j, true
	}
	return t
}

func (l *Ledger) joules() (float64, bool) {
	if l.sensors == nil {
		return 0, false
	}
	return l.sensors.Joules()
}

// add counts an answer.
func (l *Ledger) add(s *Summary, p Prices) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := &l.t
	t.Answers++
	t.Where[s.Routing.Where]++
	if s.Routing.EscalatedAt > 0 {
		t.Escalated++
	}
	t.PromptTokens, t.Tokens = t.PromptTokens+s.PromptTokens, t.Tokens+s.Tokens
	t.Origins.sum(s.Origins)
	t.Passes, t.Positions, t.Prefilled = t.Passes+s.Usage.Passes, t.Positions+s.Usage.Positions, t.Prefilled+s.Usage.Prefilled
	t.Uplink, t.Downlink = t.Uplink+s.Uplink+s.Opening, t.Downlink+s.Downlink
	t.Cost, t.CostCloudOnly = t.Cost+s.Cost, t.CostCloudOnly+s.CostCloudOnly
	t.Priced = t.Priced || p != Prices{}
}

// spent is the cost so far.
func (l *Ledger) spent() float64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.t.Cost
}

// Totals are what all answers of this edge together have taken.
func (e *Edge) Totals() Totals { return e.current().c.Ledger.Totals() }

// account closes a generation's books.
func (s *session) account() {
	c := &s.e.c
	s.sum.Cost, s.sum.CostCloudOnly = c.Prices.cost(&s.sum)
	if j, ok := c.Ledger.joules(); ok {
		s.sum.Joules = j - s.joules
	}
	c.Ledger.add(&s.sum, c.Prices)
	c.Metrics.account(&s.sum)
}
