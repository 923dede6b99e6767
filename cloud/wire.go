package cloud

import (
	"context"
	"encoding/hex"
	"fmt"
	"math"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/grammar"
	outriderv1 "github.com/outrider-llm/outrider/proto/outrider/v1"
	"github.com/outrider-llm/outrider/speculative"
	"github.com/outrider-llm/outrider/telemetry"
)

// Bounds on what a client may ask for.
const (
	maxStops      = 16
	maxStopBytes  = 256
	sessionBytes  = 16
	maxUint31     = math.MaxInt32
	confidenceOne = 255
	maxBiasBytes  = 16 << 10 // encoded logit_bias, at most 1024 entries
	maxNameBytes  = 256
	maxTokenBytes = 5 // a varint of 32 bits

	prefixKeyBytes = 16
)

// maxFrame bounds one message: the longest Open that can be valid for a context of that length.
func maxFrame(context int) int {
	return 4096 + grammar.MaxSource + maxTokenBytes*context + maxBiasBytes + maxStops*(maxStopBytes+3) + 3*maxNameBytes
}

// frameError is the status of a stream whose next message could not be read. What the peer sent
// wrong is its fault, for good; anything else is a broken stream.
func frameError(err error) error {
	switch status.Code(err) {
	case codes.ResourceExhausted, codes.Internal, codes.Unimplemented: // too large, malformed, compressed in an unknown way
		return invalid("unreadable message: %s", status.Convert(err).Message())
	}
	return err
}

// sessionID names a session within a tenant: what another tenant's session is called does not matter.
type sessionID struct {
	tenant string
	id     [sessionBytes]byte
}

// request is a validated Open.
type request struct {
	id       sessionID
	stream   uint32
	tokens   []backend.Token
	setup    backend.Setup
	logprobs int
	stop     []string
	maxLen   int
	ends     []backend.Token
	passes   float64
	patience float64
	deadline time.Duration
	numerics string

	peer       Peer
	key        prefixKey
	prefix     int // leading tokens that are named only, until resolve puts them before tokens
	prefixHash [speculative.PrefixHashSize]byte
	name       string         // request id, for logs and traces
	span       telemetry.Span // of the stream
}

// named notes by which name the edge's logs and traces know the session.
func (r *request) named(ctx context.Context) {
	if r.name = telemetry.RequestID(ctx); r.name == "" {
		r.name = hex.EncodeToString(r.id.id[:])
	}
	r.span, r.setup.Request = telemetry.Of(ctx), r.name
}

func invalid(format string, a ...any) error {
	return status.Errorf(codes.InvalidArgument, format, a...)
}

// retryLater is a status that tells the client when to try again.
func retryLater(c codes.Code, after time.Duration, format string, a ...any) error {
	return withDetails(c, fmt.Sprintf(format, a...), retryDetail(after))
}

type detail = protoadapt.MessageV1

func retryDetail(after time.Duration) detail {
	return protoadapt.MessageV1Of(&errdetails.RetryInfo{RetryDelay: durationpb.New(after)})
}

// reasonDetail is a reason for programs.
func reasonDetail(reason string) detail {
	return protoadapt.MessageV1Of(&errdetails.ErrorInfo{Reason: strings.ToUpper(reason), Domain: "outrider"})
}

func withDetails(c codes.Code, message string, details ...detail) error {
	st := status.New(c, message)
	if d, err := st.WithDetails(details...); err == nil {
		st = d
	}
	return st.Err()
}

// checkOpen validates an Open against the target that it is for.
func checkOpen(o *outriderv1.Open, t Target, info backend.Info, c *Config) (*request, error) {
	if len(o.GetSession()) != sessionBytes {
		return nil, invalid("session must be %d bytes, got %d", sessionBytes, len(o.GetSession()))
	}
	if len(o.GetVocabulary()) > maxNameBytes || len(o.GetNumerics()) > maxNameBytes {
		return nil, invalid("vocabulary and numerics must be at most %d bytes", maxNameBytes)
	}
	length := len(o.GetTokens()) + int(min(o.GetPrefixLength(), maxUint31/2))
	if length > info.ContextLength {
		return nil, invalid("the log has %d tokens, the context of %s holds %d: shorten the prompt", length, t.Name, info.ContextLength)
	}
	if v := o.GetVocabulary(); v != info.Vocabulary {
		return nil, status.Errorf(codes.FailedPrecondition,
			"vocabulary %q differs from %q of target %s: use a draft with the target's vocabulary", v, info.Vocabulary, t.Name)
	}
	r := &request{stream: o.GetStream(), numerics: o.GetNumerics(), ends: info.EndTokens}
	copy(r.id.id[:], o.GetSession())
	if err := r.prefixOf(o); err != nil {
		return nil, err
	}
	var err error
	if r.tokens, err = tokens(o.GetTokens(), info.VocabularySize); err != nil {
		return nil, err
	}
	n := int(min(o.GetPromptLength(), maxUint31))
	switch {
	case length == 0:
		return nil, invalid("the prompt is empty: send at least one token")
	case n < 1 || n > length:
		return nil, invalid("prompt_length is %d with %d tokens", n, length)
	case n >= info.ContextLength:
		return nil, invalid("the prompt has %d tokens, the context of %s holds %d: shorten the prompt", n, t.Name, info.ContextLength)
	}
	r.maxLen = info.ContextLength
	if m := o.GetMaxLength(); m > 0 {
		r.maxLen = int(min(m, uint32(min(info.ContextLength, maxUint31))))
	}
	if r.maxLen <= n {
		return nil, invalid("max_length %d leaves no room after a prompt of %d tokens", r.maxLen, n)
	}
	if length > r.maxLen {
		return nil, invalid("the log has %d tokens, max_length is %d", length, r.maxLen)
	}
	params, err := backend.SamplingFromProto(o.GetSampling())
	if err != nil {
		return nil, invalid("%s", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	r.setup = backend.Setup{Params: params, PromptLength: n, Constraint: backend.ConstraintFromProto(o.GetConstraint())}
	if r.logprobs = int(min(o.GetLogprobs(), maxUint31)); r.logprobs > MaxLogprobs {
		return nil, invalid("logprobs is %d, at most %d are allowed", r.logprobs, MaxLogprobs)
	}
	if err := r.rule(o, t, info); err != nil {
		return nil, err
	}
	if err := r.constrain(o, t, info, c); err != nil {
		return nil, err
	}
	if err := r.limits(o, t, c); err != nil {
		return nil, err
	}
	return r, nil
}

// prefixOf reads what an Open says about prefixes.
func (r *request) prefixOf(o *outriderv1.Open) error {
	key, n, hash := o.GetPrefixKey(), o.GetPrefixLength(), o.GetPrefixHash()
	switch {
	case len(key) != 0 && len(key) != prefixKeyBytes:
		return invalid("prefix_key must be %d bytes or empty, got %d", prefixKeyBytes, len(key))
	case n > 0 && len(key) == 0:
		return invalid("a prefix of %d tokens is named without prefix_key", n)
	case n > 0 && len(hash) != len(r.prefixHash):
		return invalid("prefix_hash must be %d bytes, got %d", len(r.prefixHash), len(hash))
	case n == 0 && len(hash) != 0:
		return invalid("prefix_hash of %d bytes without prefix_length", len(hash))
	}
	r.key.set = len(key) > 0
	copy(r.key.key[:], key)
	r.prefix = int(n) // at most the context's length
	copy(r.prefixHash[:], hash)
	return nil
}

// MaxLogprobs bounds what a session may ask for: the token's own log probability and 20 alternatives.
const MaxLogprobs = 21

// rule reads the acceptance rule.
func (r *request) rule(o *outriderv1.Open, t Target, info backend.Info) error {
	rule, err := backend.RuleFromProto(o.GetRule())
	if err != nil {
		return invalid("%s", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	if (rule.Kind == speculative.Rejection || rule.Kind == speculative.Lenient) && !info.Rules {
		return invalid("target %s runs on an engine that knows no rule but coupled: leave out the rule, or update the plugin", t.Name)
	}
	r.setup.Rule = rule
	return nil
}

// constrain compiles the constraint to see whether the target can; the plugin compiles it again.
func (r *request) constrain(o *outriderv1.Open, t Target, info backend.Info, c *Config) error {
	switch {
	case r.setup.Constraint.Kind == "":
		return nil
	case t.Bytes == nil || !info.Constraints:
		return invalid("target %s has no text vocabulary: constraints are not possible", t.Name)
	case o.GetIgnoreEnd():
		return invalid("a constrained text ends where it is complete: leave out ignore_end")
	}
	if _, err := c.grammars.Compile(r.setup.Constraint); err != nil {
		return invalid("%s", err)
	}
	return nil
}

func (r *request) limits(o *outriderv1.Open, t Target, c *Config) error {
	r.stop = o.GetStop()
	if len(r.stop) > maxStops {
		return invalid("%d stop strings, at most %d are allowed", len(r.stop), maxStops)
	}
	for _, s := range r.stop {
		if s == "" || len(s) > maxStopBytes {
			return invalid("a stop string of %d bytes, 1 to %d are allowed", len(s), maxStopBytes)
		}
	}
	if len(r.stop) > 0 && t.Bytes == nil {
		return invalid("target %s has no text vocabulary: stop strings are not possible", t.Name)
	}
	if o.GetIgnoreEnd() {
		r.ends = nil
	}
	p := float64(o.GetRunAhead().GetMaxPassesPerToken())
	if math.IsNaN(p) || p < 0 || p > 1 {
		return invalid("max_passes_per_token is %g, must be between 0 and 1", p)
	}
	r.patience = float64(o.GetRunAhead().GetPatience())
	if !(r.patience >= 0 && r.patience <= 1) {
		return invalid("patience is %g, must be between 0 and 1", r.patience)
	}
	if r.passes = p; p == 0 {
		r.passes = c.MaxPassesPerToken
	}
	r.deadline = time.Duration(o.GetDeadlineMs()) * time.Millisecond
	return nil
}

func tokens(in []uint32, vocabulary int) ([]backend.Token, error) {
	out := make([]backend.Token, len(in))
	for i, t := range in {
		if int64(t) >= int64(vocabulary) {
			return nil, invalid("token %d is %d, the vocabulary has %d", i, t, vocabulary)
		}
		out[i] = backend.Token(t)
	}
	return out, nil
}

// propose validates and converts a proposal.
func propose(m *outriderv1.Propose, vocabulary, window int) (*speculative.Propose, error) {
	if len(m.GetTokens()) > window {
		return nil, invalid("a proposal of %d tokens, the window is %d", len(m.GetTokens()), window)
	}
	if m.GetEpoch() > maxUint31 || m.GetFirst() > maxUint31-uint32(window) {
		return nil, invalid("epoch %d, first %d: out of range", m.GetEpoch(), m.GetFirst())
	}
	p := &speculative.Propose{Epoch: int(m.GetEpoch()), First: int(m.GetFirst())}
	var err error
	if p.Tokens, err = tokens(m.GetTokens(), vocabulary); err != nil {
		return nil, err
	}
	if p.Q, err = backend.SparsesFromProto(m.GetDrawnFrom(), p.Tokens, vocabulary); err != nil {
		return nil, protocolStatus(err)
	}
	if n := len(m.GetParents()); n > 0 {
		if n != len(p.Tokens) {
			return nil, invalid("%d parents for %d tokens", n, len(p.Tokens))
		}
		p.Parents = make([]int32, n)
		for i, v := range m.GetParents() {
			if v > maxUint31 {
				return nil, invalid("parent %d: out of range", v)
			}
			p.Parents[i] = int32(v) - 1
		}
	}
	if n := len(m.GetConfidence()); n > 0 {
		if n != len(p.Tokens) {
			return nil, invalid("%d confidences for %d tokens", n, len(p.Tokens))
		}
		p.Confidence = make([]float32, n)
		for i, v := range m.GetConfidence() {
			p.Confidence[i] = float32(v) / confidenceOne
		}
	}
	return p, nil
}

func logprobsProto(in []*speculative.Logprobs) []*outriderv1.Logprobs {
	var out []*outriderv1.Logprobs
	for _, l := range in {
		m := &outriderv1.Logprobs{}
		if l != nil {
			m.Chosen = l.Chosen
			for _, t := range l.Top {
				m.Tokens, m.Values = append(m.Tokens, uint32(t.Token)), append(m.Values, t.Logprob)
			}
		}
		out = append(out, m)
	}
	return out
}

// commitProto converts a commit for the wire.
func commitProto(c speculative.Commit) *outriderv1.Commit {
	m := &outriderv1.Commit{
		Start: uint32(c.Start), JudgedNode: uint32(c.JudgedNode), Heard: uint32(c.Heard), Load: uint32(c.Load),
		QueueUs: micros(c.Queue), ScoreUs: micros(c.Score), AgeUs: micros(c.Age), Finish: outriderv1.Finish(c.Finish),
		Tokens: make([]uint32, len(c.Tokens)), Fates: make([]outriderv1.Fate, len(c.Fates)),
	}
	for i, t := range c.Tokens {
		m.Tokens[i], m.Fates[i] = uint32(t), outriderv1.Fate(c.Fates[i])
	}
	m.Logprobs = logprobsProto(c.Logprobs)
	if c.Finish != speculative.NotFinished {
		u := c.Usage
		m.Usage = &outriderv1.Usage{Drafted: uint64(u.Drafted), Judged: uint64(u.Judged), Accepted: uint64(u.Accepted),
			Late: uint64(u.Late), Stale: uint64(u.Stale), Passes: uint64(u.Passes),
			ScoringPasses: uint64(u.ScoringPasses), Positions: uint64(u.Positions), Prefilled: uint64(u.Prefilled), Held: uint64(u.Held), Lenient: uint64(u.Lenient),
			OwnJudged: uint64(u.OwnJudged), OwnAccepted: uint64(u.OwnAccepted)}
	}
	return m
}

func micros(d time.Duration) uint32 {
	return uint32(min(max(0, d.Microseconds()), math.MaxUint32))
}
