package edge

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/outrider-llm/outrider/backend"
	outriderv1 "github.com/outrider-llm/outrider/proto/outrider/v1"
	"github.com/outrider-llm/outrider/speculative"
)

// open begins a stream with the log as it is.
func (s *session) open() {
	s.opened++
	o := &outriderv1.Open{
		Session: s.id[:], Model: s.r.Model, Vocabulary: s.voc.print, Tokens: tokensToProto(s.p.Log()),
		PromptLength: uint32(len(s.prompt)), Sampling: backend.SamplingToProto(s.r.Params), Stop: s.r.Stop,
		IgnoreEnd: s.r.IgnoreEnd, Stream: uint32(s.opened), Numerics: s.sum.Numerics,
		Constraint: backend.ConstraintToProto(s.r.constraint()), Logprobs: uint32(s.r.Logprobs), Rule: backend.RuleToProto(s.r.Rule),
	}
	if s.sum.Tokens == 0 {
		o.Numerics = ""
	}
	if s.r.MaxTokens > 0 {
		o.MaxLength = uint32(len(s.prompt) + s.r.MaxTokens)
	}
	o.RunAhead = s.runAhead()
	if s.r.Deadline > 0 {
		o.DeadlineMs = milliseconds(s.r.Deadline - s.now())
	}
	s.name(o)
	s.sum.Opening += proto.Size(o)
	s.st, s.heard = s.e.link.open(s.ctx, s.request, o), false
}

// runAhead bounds the target's passes: by what the request says, else by its objective where that is not
// latency, else by the edge's configuration; nil leaves it to the cloud.
func (s *session) runAhead() *outriderv1.RunAhead {
	aims, passes := s.r.Objective.Aims(), s.r.MaxPassesPerToken
	if passes == 0 && aims.MaxPasses < 1 {
		passes = aims.MaxPasses
	}
	if passes == 0 {
		passes = s.e.c.RunAhead
	}
	if passes == 0 {
		return nil
	}
	return &outriderv1.RunAhead{MaxPassesPerToken: float32(passes), Patience: float32(aims.Patience)}
}

// name leaves out the part of the log that the cloud has from an earlier generation, or from an
// earlier stream of this one.
func (s *session) name(o *outriderv1.Open) {
	o.PrefixKey, s.named = s.key, 0
	if s.key == nil || s.whole {
		return
	}
	log := s.p.Log()
	if n := s.e.conversations.named(s.owner, log); s.keepFor == 0 {
		s.named = n
	} else {
		s.named = len(log)
	}
	if s.named == 0 {
		return
	}
	h := speculative.PrefixHash(s.key, log[:s.named])
	o.PrefixLength, o.PrefixHash, o.Tokens = uint32(s.named), h[:], o.Tokens[s.named:]
	if s.sum.Tokens == 0 {
		s.sum.Prefix = s.named
	}
}

// unknown says that a stream ended because the cloud does not know the prefix, or prefixes at all: it
// is opened again at once, with the whole log.
func (s *session) unknown(err error) bool {
	if s.named == 0 || s.linked || !(prefixUnknown(err) || status.Code(err) == codes.InvalidArgument) {
		return false
	}
	s.e.conversations.unknown(s.owner, s.p.Log()[:s.named])
	s.e.c.Metrics.prefixUnknown.Inc()
	s.whole, s.openAt = true, s.now()
	if s.sum.Tokens == 0 {
		s.sum.Prefix = 0
	}
	return true
}

// up takes the cloud's answer to open.
func (s *session) up(o *outriderv1.Opened) {
	t := o.GetTarget()
	if v := s.voc.print; v != "" && t.GetVocabulary() != v {
		s.e.learner.forget(s.r.Model)
		err := fmt.Errorf("%w: target %s has %s, this edge %s: use a draft that was made for it",
			ErrVocabulary, t.GetName(), t.GetVocabulary(), v)
		if !s.bar(err) {
			s.end(speculative.NotFinished, err)
		}
		return
	}
	if s.linked {
		return // told twice
	}
	if k := s.r.Rule.Kind; o.GetRule() == nil && (k == speculative.Rejection || k == speculative.Lenient) {
		err := fmt.Errorf("%w: %s knows no rule but coupled, it is older than this edge: update it, or leave out the rule",
			ErrRefused, s.e.c.Cloud)
		if !s.bar(err) {
			s.end(speculative.NotFinished, err)
		}
		return
	}
	s.e.link.gate.reached()
	if s.alone != nil {
		s.rejoin()
	}
	s.linked, s.whole = true, false
	s.keepFor = time.Duration(o.GetKeepMs()) * time.Millisecond
	s.e.c.Metrics.linked.Inc()
	s.e.link.learn(s.r.Model, t)
	s.sum.ShapeDependent = t.GetShapeDependent()
	if s.sum.Tokens > 0 && !o.GetExact() || s.sum.ShapeDependent {
		s.sum.Exact, s.inexact = false, true
	}
	if s.opened > 1 && s.sum.Target != "" {
		s.out.dirty = true // the progress tells
		s.sum.Resumes++
		s.e.c.Metrics.resumes.Inc()
	}
	s.sum.Target, s.sum.Numerics, s.sum.Pace = t.GetName(), t.GetNumerics(), t.GetPace()
	s.packer = speculative.Packer{Bits: int(min(o.GetTokenBits(), 1<<8)), Drawn: s.r.Rule.Kind == speculative.Rejection}
	s.p.LinkUp(int(min(o.GetWindow(), 1<<16)))
}

// unlink notes that no stream is open.
func (s *session) unlink() {
	if s.linked {
		s.linked = false
		s.e.c.Metrics.linked.Dec()
	}
}

// Back-off between streams.
const (
	minReopen = 20 * time.Millisecond
	maxReopen = 2 * time.Second
)

// Streams in a row that may end without a commit before the time out of reach counts on.
const hopeful = 3

// lost takes the end of a stream: the session goes on on another one, unless the cloud refused it
// for good.
func (s *session) lost(err error) {
	s.st.cancel()
	conn := s.st.went()
	s.st = nil
	now := s.now()
	if s.unknown(err) {
		return
	}
	if !s.linked {
		s.e.link.gate.missed(err)
	} else {
		s.unlink()
		s.out.dirty = true // the progress tells
		s.p.LinkDown()
		if s.heard || s.failures < hopeful {
			s.lostAt = now
		}
	}
	s.lastErr = err
	s.full(err)
	s.e.c.Metrics.losses.Inc()
	if final := permanent(err, s.e.c.Cloud); final != nil {
		if errors.Is(final, ErrVocabulary) {
			s.e.learner.forget(s.r.Model) // the target was replaced: the next request asks anew
		}
		if !s.bar(final) {
			s.end(speculative.NotFinished, final)
		}
		return
	}
	delay := min(minReopen<<min(s.failures, 10), maxReopen)
	s.openAt = now + delay/2 + rand.N(delay/2)
	what := "the link to the cloud broke, opening the session again"
	after, refused := retryAfter(err)
	if refused {
		what, s.openAt = "the cloud asks for patience, opening the session again", now+after+rand.N(after/4+minReopen)
	}
	if moves(err) && s.e.link.elsewhere(conn, refused, reason(err)) {
		what, s.openAt = "the cloud cannot go on with this session, opening it on another replica", now+rand.N(minReopen)
	}
	s.failures++
	s.e.c.Logger.Info(what, "request", s.request, "cloud", s.e.c.Cloud,
		"error", reason(err), "in", s.openAt-now, "tokens", s.sum.Tokens)
}

// Defaults of Config.FallbackAfter.
const (
	failAfter  = 10 * time.Second
	draftAfter = 3 * time.Second
)

// patience is how long the cloud may be out of reach, 0: for ever.
func (s *session) patience() time.Duration {
	return patienceOf(&s.e.c, s.fallback)
}

// outOfReach applies the fallback policy.
func (s *session) outOfReach() {
	why, shut := s.e.link.gate.shut()
	if !shut {
		why = reason(s.lastErr)
	}
	if s.st != nil {
		s.st.cancel()
		<-s.st.over // at once: nothing of it waits for anything but its context
		if now := reason(s.st.err); now != context.Canceled.Error() {
			why = now
		}
		s.st = nil
	}
	if status.Code(s.lastErr) != codes.ResourceExhausted { // one that is full is in reach
		s.e.link.gate.fail(why, true)
	}
	if s.fallback == FallbackDraft {
		s.goAlone(why)
		return
	}
	hint, busy := "start it, check the address, or choose fallback draft or wait", status.Code(s.lastErr) == codes.ResourceExhausted
	if strings.Contains(why, "tls: ") || strings.Contains(why, "x509: ") || strings.Contains(why, "certificate") {
		hint = "check this edge's certificate and edge.tls with `outrider certs show`, or choose fallback draft or wait"
	}
	if busy {
		hint = "try again later, or choose fallback draft or wait"
	}
	err := fmt.Errorf("%w: %s for %s (%s): %s", ErrNoCloud, s.e.c.Cloud, s.patience(), why, hint)
	if busy {
		err = also(err, ErrBusy)
	}
	s.end(speculative.NotFinished, err)
}
