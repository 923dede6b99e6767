package edge

import (
	"fmt"
	"slices"

	"github.com/outrider-llm/outrider/edge/router"
	"github.com/outrider-llm/outrider/speculative"
)

// trial is an answer that the draft begins and the cloud may go on with.
type trial struct {
	at    int     // position of the first token
	hold  int     // tokens that are held back, negative: all
	all   []Token // written so far
	shown int     // of them, given out
}

// beginOnDevice lets the draft write from the start.
func (s *session) beginOnDevice() {
	a, err := s.newAlone(s.route.Reason)
	if err != nil {
		if s.route.trial {
			s.route.Where, s.route.Reason = Cooperative, "the prompt is too long for the draft"
			return
		}
		s.end(speculative.NotFinished, err)
		return
	}
	s.alone = a
	if s.route.trial {
		a.trial = &trial{at: len(s.prompt), hold: s.route.hold}
	} else {
		s.sum.Exact, s.sum.Lossless = false, false
	}
	s.startAlone()
}

// newAlone prepares that the draft writes what follows the log. Errors wrap ErrDevice.
func (s *session) newAlone(why string) (*aloneState, error) {
	log := s.text()
	a := &aloneState{length: len(log), limit: s.voc.draft.Info().ContextLength, why: why}
	if n := s.e.link.contextOf(s.r.Model); n > 0 && !(s.route.Where == OnDevice && !s.route.trial) {
		a.limit = min(a.limit, n) // a draft that sees the end of the text only knows no limit
	}
	if a.length >= a.limit {
		return nil, deviceError("%d tokens are too many for the draft, which holds %d: shorten the prompt, or use another mode", a.length, a.limit)
	}
	if m := s.r.MaxTokens; m > 0 && len(s.prompt)+m <= a.limit {
		a.limit, a.whole = len(s.prompt)+m, true
	}
	e := speculative.Ending{MaxLength: a.limit, EndTokens: s.ends, Stop: s.r.Stop}
	if t := s.voc.tok; t != nil {
		e.Piece = t.Bytes
	}
	a.ender = speculative.NewEnder(e)
	for i, t := range log[len(s.prompt):] { // none of these ends: the cloud would have said so
		a.ender.Push(t, len(s.prompt)+i+1)
	}
	return a, nil
}

// tried takes a token that the draft wrote while the cloud may still take over.
func (s *session) tried(c speculative.Choice) {
	a := s.alone
	t := a.trial
	why := a.ender.Push(c.Token, a.length)
	if why == speculative.FinishLength && !a.whole {
		why = speculative.NotFinished // the draft's context is full, not the answer: aloneDone
	}
	t.all = append(t.all, c.Token)
	if d, ok := s.doubts(c, why != speculative.NotFinished); ok {
		s.escalate(d)
		return
	}
	s.ration(why)
}

// ration gives out what the draft wrote as far as it is not held back, all of it at the end.
func (s *session) ration(why speculative.Finish) {
	t := s.alone.trial
	if why != speculative.NotFinished {
		s.show(len(t.all))
		s.end(why, nil)
		return
	}
	if t.hold >= 0 {
		s.show(len(t.all) - t.hold)
	}
	if s.r.Pending {
		s.out.expect(t.all[t.shown:])
	}
}

// wrote takes a token that the draft wrote for want of a cloud. It reports whether it ends the answer.
func (s *session) wrote(t Token) bool {
	a := s.alone
	why := a.ender.Push(t, a.length)
	a.trial.all = append(a.trial.all, t)
	s.ration(why)
	return why != speculative.NotFinished
}

// show gives out the draft's tokens up to the n-th.
func (s *session) show(n int) {
	t := s.alone.trial
	for ; t.shown < n; t.shown++ {
		s.unverified(t.all[t.shown])
	}
}

// unverified gives out a token of the draft alone.
func (s *session) unverified(t Token) {
	s.sum.Unverified++
	s.sum.Exact, s.sum.Lossless = false, false
	s.give(GeneratedToken{ID: t, Unverified: true})
}

// escalate lets the cloud go on with what the draft began: what was given out stays, the rest is the
// first proposal.
func (s *session) escalate(d router.Decision) {
	t := s.alone.trial
	s.route.Where, s.route.Rule, s.route.Reason = Cooperative, d.Rule, d.Why
	s.route.EscalatedAt, s.route.Shown = len(t.all), t.shown
	s.e.c.Logger.Info("the cloud takes over from the draft", "request", s.request, "tokens", len(t.all), "shown", t.shown, "rule", d.Rule, "why", d.Why)
	s.alone = nil
	if d.To == router.Cloud { // only what is written already is proposed
		s.route.Where, s.pc.GuessOnly, s.look = InCloud, true, nil
	}
	s.begun = &draftText{at: t.at + t.shown, tokens: t.all[t.shown:]}
	s.renew(slices.Concat(s.p.Log(), t.all[:t.shown]))
	s.openAt = s.now()
}

// draftText is what the draft wrote before the cloud took over: a source of proposals that the draft
// stands by.
type draftText struct {
	at     int // position of the first token
	tokens []Token
	parted bool // the log says otherwise
}

// sureOf is the confidence with which it is proposed: the cloud is to judge all of it, as far as the
// window goes.
const sureOf = 0.99

// guess is the token after the log and a path.
func (d *draftText) guess(log, path []Token) (speculative.Choice, bool) {
	from := len(log) - d.at // agrees up to here, or it had parted
	if d.parted || from < 0 || from+len(path) >= len(d.tokens) {
		return speculative.Choice{}, false
	}
	for i, t := range path {
		if d.tokens[from+i] != t {
			return speculative.Choice{}, false
		}
	}
	return speculative.Choice{Token: d.tokens[from+len(path)], Confidence: sureOf, Second: -1}, true
}

// rest is what of it lies beyond a log of n tokens, nothing once that says otherwise.
func (d *draftText) rest(n int) []Token {
	if d == nil || d.parted || n < d.at || n >= d.at+len(d.tokens) {
		return nil
	}
	return d.tokens[n-d.at:]
}

// settle says whether a committed token is the one that the draft wrote.
func (d *draftText) settle(position int, t Token) bool {
	i := position - d.at
	if d.parted || i < 0 || i >= len(d.tokens) {
		return false
	}
	d.parted = d.tokens[i] != t
	return !d.parted
}

func deviceError(format string, a ...any) error {
	return fmt.Errorf("%w: %s", ErrDevice, fmt.Sprintf(format, a...))
}
