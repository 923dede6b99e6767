package edge

import (
	"context"
	"slices"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/outrider-llm/outrider/speculative"
)

// An answer that the draft goes on with for want of a cloud is no lost one: the session keeps looking for
// the cloud, and when it is back its target judges what the draft wrote, from the last confirmed token on.
// What nobody has been given yet is a proposal as any other. What was given out is a proposal, too, but one
// that cannot be taken back: as far as the target says the same it becomes verified, and from the first
// token that the target would not have said, the target goes on after all that was given out.

// review is text that was given out unverified and that the target is to judge.
type review struct {
	at     int // position of the first token
	tokens []Token
}

// rest is what of it lies beyond a log of n tokens.
func (v *review) rest(n int) []Token {
	if v == nil || n >= v.at+len(v.tokens) {
		return nil
	}
	return v.tokens[max(0, n-v.at):]
}

// text is the prompt with all that is confirmed or was given out.
func (s *session) text() []Token {
	log := s.p.Log()
	return slices.Concat(log, s.review.rest(len(log)))
}

// holdAlone is how much of what the draft writes for want of a cloud is held back: all where the client
// shows what is pending, nothing where it does not, unless the request says otherwise.
func (s *session) holdAlone() int {
	switch {
	case s.r.Hold != 0:
		return s.r.Hold
	case s.r.Pending:
		return -1
	}
	return 0
}

// seekEvery is how often a session looks whether the cloud is in reach again.
const seekEvery = 100 * time.Millisecond

// seek opens a stream while the draft goes on, once the cloud is in reach; it returns when to look again.
func (s *session) seek(now time.Duration) time.Duration {
	if !s.alone.fallback || s.alone.barred || s.st != nil {
		return now + time.Minute
	}
	if _, shut := s.e.link.gate.shut(); shut {
		return now + seekEvery
	}
	if now < s.openAt {
		return s.openAt
	}
	s.open()
	return now + time.Minute
}

// bar ends the search for the cloud: it would not go on with this answer. It reports whether the draft does.
func (s *session) bar(err error) bool {
	if s.alone == nil || !s.alone.fallback {
		return false
	}
	s.e.c.Logger.Warn("the cloud does not go on with what the draft wrote", "request", s.request, "error", err)
	s.alone.barred = true
	if s.st != nil {
		s.st.leave(false)
		s.st = nil
	}
	return true
}

// rejoin goes on with the cloud, which has just answered, in place of the draft alone.
func (s *session) rejoin() {
	t := s.alone.trial
	s.e.c.Logger.Info("the cloud is back, it judges what the draft wrote", "request", s.request, "tokens", len(t.all), "shown", t.shown)
	s.route.Where, s.route.Reason = s.alone.where, s.alone.reason
	s.route.EscalatedAt, s.route.Shown, s.route.Kept = len(t.all), t.shown, 0
	s.alone = nil
	s.review = nil
	if t.shown > 0 {
		s.review = &review{at: t.at, tokens: t.all[:t.shown:t.shown]}
	}
	s.begun = &draftText{at: t.at, tokens: t.all}
	s.renew(s.p.Log())
	s.e.c.Metrics.rejoined.Inc()
}

// renew takes up the log anew with no stream, and stops the draft's writing.
func (s *session) renew(log []Token) {
	if s.pc.Depth < 0 { // what is written already is proposed all the same
		s.pc.Depth, s.pc.GuessOnly = 0, true
	}
	s.p = speculative.NewProposer(s.pc, log)
	if s.r.Pending {
		s.out.expect(s.begun.rest(len(s.text())))
	}
	s.dcancel()
	s.dctx, s.dcancel = context.WithCancel(s.ctx)
	s.lostAt = s.now()
}

// compare settles what the draft wrote alone at a position.
func (s *session) compare(position int, t Token) {
	rest := s.begun.rest(position)
	switch {
	case rest == nil:
	case s.begun.settle(position, t):
		s.route.Kept++
		s.e.c.Metrics.confirmed.Inc()
	default:
		s.e.c.Metrics.replaced.Add(float64(len(rest)))
	}
}

// judged takes a token that the target committed where one was given out unverified. It reports whether
// both are the same; if not, the target goes on after what was given out.
func (s *session) judged(position int, t Token) bool {
	i := position - s.review.at
	if s.review.tokens[i] != t {
		return false
	}
	s.sum.Unverified--
	s.sum.Verified++
	s.sum.Origins.confirm()
	s.out.verified(position + 1 - len(s.prompt))
	if i == len(s.review.tokens)-1 {
		s.review = nil
		s.certify()
	}
	return true
}

// certify says again what the answer is worth once nothing in it is unverified.
func (s *session) certify() {
	if s.sum.Unverified > 0 {
		return
	}
	s.sum.Exact = s.r.Rule.Strict(s.r.Params.Temperature) && !s.inexact
	s.sum.Lossless = s.r.Rule.Kind != speculative.Lenient
}

// part leaves the stream whose target says something else at a position than what was given out, to open one
// on that.
func (s *session) part(position int) {
	log := slices.Concat(s.p.Log()[:position], s.review.rest(position))
	s.e.c.Logger.Info("the target would have said something else, it goes on after what was given out", "request", s.request,
		"tokens", len(log)-len(s.prompt))
	s.st.cancel() // the cloud keeps what the next one can use
	s.st = nil
	s.unlink()
	s.review, s.whole = nil, true
	s.renew(log)
	s.openAt = s.now()
}

// full says that the cloud refused for now.
func (s *session) full(err error) {
	if after, ok := retryAfter(err); ok && status.Code(err) == codes.ResourceExhausted {
		s.e.link.gate.refused(after)
	}
}
