package edge

import (
	"maps"
	"math"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/connectivity"

	"github.com/outrider-llm/outrider/edge/router"
	"github.com/outrider-llm/outrider/speculative"
	"github.com/outrider-llm/outrider/tokenizer"
)

// judgement is what a session's route is decided by.
type judgement struct {
	policy     *router.Policy // of mode auto; nil: the mode itself decides
	facts      router.Facts   // at the beginning
	text       string         // what is asked
	confidence *router.Confidence
}

// auto lets the policy decide where a request begins.
func (rt *route) auto(e *Edge, r *Request) error {
	p := e.c.Router.Policy()
	rt.judge = e.judgement(r, p.Window)
	rt.judge.policy = p
	d := p.Begin(rt.judge.facts)
	rt.Rule, rt.Reason = d.Rule, d.Why
	if s, ok := rt.judge.facts["score"].(float64); ok {
		rt.Score = s
	}
	switch {
	case d.To == router.Device && e.c.Draft == nil:
		return deviceError("%s (rule %s of the routing policy), but this edge has no draft model: name one (edge.draft), or use another mode", d.Why, d.Rule)
	case d.To == router.Device:
		rt.Where = OnDevice
		return nil
	case d.To == router.TryDevice && e.c.Draft != nil:
		rt.Where, rt.trial, rt.hold = OnDevice, true, p.Hold
		if r.Hold != 0 {
			rt.hold = r.Hold
		}
	case d.To == router.Cloud, e.c.Draft == nil:
		rt.Where, r.NoDraft = InCloud, true
	}
	rt.orDevice(e, r)
	return nil
}

// judgement gathers what is known of a request before it begins.
func (e *Edge) judgement(r *Request, window int) *judgement {
	f := router.Facts{"prompt.tools": len(r.Tools) > 0, "prompt.constrained": r.Constraint != nil, "prompt.turns": float64(max(1, len(r.Messages)))}
	if r.MaxTokens > 0 {
		f["prompt.max_tokens"] = float64(r.MaxTokens)
	}
	f["prompt.tokens"] = float64(len(r.Tokens))
	last := ""
	if len(r.Tokens) == 0 {
		text := r.text()
		f["prompt.tokens"] = e.lengthOf(text)
		last = text // of a conversation, what is asked now
		if n := len(r.Messages); n > 0 {
			last = r.Messages[n-1].Content
		}
		maps.Copy(f, router.TextFacts(last))
		f["private.kinds"] = kindsOf(r.personal)
	}
	f["lot"] = e.link.gate.lot()
	e.state(f)
	j := &judgement{facts: f, text: last, confidence: router.NewConfidence(window)}
	j.confidence.Facts(f)
	e.c.Router.Score(f, last)
	return j
}

// text is all that a request tells the models.
func (r *Request) text() string {
	if len(r.Messages) == 0 {
		return r.Prompt
	}
	var b strings.Builder
	for _, m := range r.Messages {
		b.WriteString(m.Content)
		b.WriteByte('\n')
	}
	for _, t := range r.Tools {
		b.Write(t)
		b.WriteByte('\n')
	}
	return b.String()
}

// Bytes of a token, where counting them is not worth its time.
const (
	bytesPerToken = 4
	counted       = 8 << 10 // bytes of text whose tokens are counted
)

func (e *Edge) lengthOf(text string) float64 {
	if e.c.Tokenizer == nil || len(text) > counted {
		return float64(len(text) / bytesPerToken)
	}
	return float64(len(e.c.Tokenizer.Encode(text, tokenizer.Options{})))
}

// state puts in what is known of link, cloud and device now.
func (e *Edge) state(f router.Facts) {
	e.link.mu.Lock()
	conn := e.link.conn
	e.link.mu.Unlock()
	switch conn.GetState() {
	case connectivity.Ready:
		f["link.up"] = true
	case connectivity.TransientFailure:
		f["link.up"] = false
	}
	if rtt := time.Duration(e.link.rtt.Load()); rtt > 0 {
		f["link.rtt_ms"] = float64(rtt.Microseconds()) / 1000
	}
	e.link.gate.facts(f)
	e.seen.facts(f)
	if t := e.c.Ledger.spent(); t > 0 || e.c.Prices != (Prices{}) {
		f["cost.spent"] = t
	}
	if e.c.Sensors == nil {
		return
	}
	r := e.c.Sensors.Read()
	for name, v := range map[string]float64{"device.battery": r.Battery, "device.temperature": r.Temperature, "device.load": r.Load} {
		if !math.IsNaN(v) {
			f[name] = v
		}
	}
	if r.HasMains {
		f["device.charging"] = r.Charging
	}
}

// seen is what answers have told of the cloud and of how draft and target agree.
type seen struct {
	mu             sync.Mutex
	load           int
	queue          time.Duration
	judged, agreed float64 // decaying
}

// forget is how much of what was seen counts on after each answer.
const forget = 0.9

func (s *seen) facts(f router.Facts) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.load > 0 {
		f["cloud.load"], f["cloud.queue_ms"] = float64(s.load), float64(s.queue.Microseconds())/1000
	}
	if s.judged >= 32 {
		f["draft.agreement"] = s.agreed / s.judged
	}
}

func (s *seen) commit(c speculative.Commit) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.load, s.queue = c.Load, c.Queue
}

func (s *seen) answer(judged, agreed int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.judged, s.agreed = s.judged*forget+float64(judged), s.agreed*forget+float64(agreed)
}

// doubts asks the policy, after a token that the draft has written, whether the cloud takes over.
func (s *session) doubts(c speculative.Choice, done bool) (router.Decision, bool) {
	j := s.route.judge
	if j == nil || j.policy == nil {
		return router.Decision{}, false
	}
	j.confidence.Add(float64(c.Confidence))
	f := maps.Clone(j.facts)
	s.e.state(f)
	j.confidence.Facts(f)
	f["draft.done"] = done
	s.e.c.Router.Score(f, j.text)
	return j.policy.During(f)
}

// leastJudged is how many of the draft's choices must have been compared for an outcome to mean something.
const leastJudged = 8

// outcome notes how well the draft did.
func (s *session) outcome() {
	st := s.p.Stats()
	judged, agreed := st.Compared, st.Agreed
	if s.route.EscalatedAt > 0 { // what it wrote by itself says more
		judged, agreed = s.route.Kept, s.route.Kept
		if s.begun != nil && s.begun.parted {
			judged++ // what follows was written after another text
		}
	}
	if judged == 0 {
		return
	}
	s.e.seen.answer(judged, agreed)
	if s.e.c.Record == nil || s.route.judge == nil || judged < leastJudged {
		return
	}
	f := maps.Clone(s.route.judge.facts)
	s.route.judge.confidence.Facts(f)
	delete(f, "score")
	delete(f, "lot")
	delete(f, "threshold")
	s.e.c.Record(router.Record{Facts: f, Where: s.route.Where, Agreement: float64(agreed) / float64(judged), Tokens: judged})
}
