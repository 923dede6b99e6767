package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/pflag"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/edge"
	outriderv1 "github.com/outrider-llm/outrider/proto/outrider/v1"
	"github.com/outrider-llm/outrider/speculative"
)

// edgeClient speaks to a running edge.
type edgeClient struct {
	addr string
	conn *grpc.ClientConn
	outriderv1.EdgeServiceClient
}

func dialEdge(addr string) (*edgeClient, error) {
	if err := checkAddress("--edge (edge.listen)", addr, edgeAddr); err != nil {
		return nil, err
	}
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, usagef("edge address %q: %w", addr, err)
	}
	return &edgeClient{addr, conn, outriderv1.NewEdgeServiceClient(conn)}, nil
}

func (e *edgeClient) Close() error { return e.conn.Close() }

// generate runs one request and hands each response to emit.
func (e *edgeClient) generate(ctx context.Context, r *outriderv1.GenerateRequest, emit func(*outriderv1.GenerateResponse)) (*outriderv1.Summary, error) {
	ctx, cancel := context.WithCancel(ctx) // a stream that is left early must end
	defer cancel()
	stream, err := e.Generate(ctx, r)
	if err != nil {
		return nil, e.explain(err)
	}
	var sum *outriderv1.Summary
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, e.explain(err)
		}
		emit(m)
		if m.GetSummary() != nil {
			sum = m.GetSummary()
		}
	}
	if sum == nil {
		return nil, fmt.Errorf("the edge at %s ended the stream without a summary: is it the same version?", e.addr)
	}
	return sum, nil
}

// explain turns an edge that cannot be reached into what to do about it.
func (e *edgeClient) explain(err error) error {
	st, ok := status.FromError(err)
	if !ok {
		return err
	}
	switch m := st.Message(); {
	case st.Code() == codes.Canceled:
		return context.Canceled
	case st.Code() == codes.Unavailable && strings.HasPrefix(m, "connection error"):
		return fmt.Errorf("no edge answers at %s (%s): start one with `outrider edge --cloud HOST:PORT`, or see both sides at work with `outrider demo`", e.addr, m)
	case st.Code() == codes.Unavailable && strings.HasPrefix(m, "error reading from server"):
		return fmt.Errorf("the edge at %s went away in the middle of the answer", e.addr)
	}
	return errors.New(st.Message())
}

// requestFlags are the flags that shape a request.
type requestFlags struct {
	sampling    outriderv1.Sampling
	temperature float32
	topK        int
	seed        int64
	bias        map[string]string
	maxTokens   int
	stop        []string
	ignoreEnd   bool
	fallback    string
	deadline    time.Duration
	runAhead    string
	noDraft     bool
	mode        string
	privacy     string
	rule        string
	objective   string
	threshold   float32
	target      string
}

func (r *requestFlags) add(f *pflag.FlagSet) {
	f.Float32VarP(&r.temperature, "temperature", "t", 0.7, "0: always the most probable token")
	f.IntVar(&r.topK, "top-k", 0, "keep the k most probable tokens; 0: off")
	f.Float32Var(&r.sampling.TopP, "top-p", 0, "keep the smallest set of tokens with this probability; 0: off")
	f.Float32Var(&r.sampling.MinP, "min-p", 0, "keep tokens with at least this fraction of the top probability; 0: off")
	f.Float32Var(&r.sampling.RepetitionPenalty, "repetition-penalty", 0, "divides the logits of tokens seen before; 0 or 1: off")
	f.Float32Var(&r.sampling.PresencePenalty, "presence-penalty", 0, "subtracted from the logits of generated tokens")
	f.Float32Var(&r.sampling.FrequencyPenalty, "frequency-penalty", 0, "subtracted once per occurrence")
	f.StringToStringVar(&r.bias, "logit-bias", nil, "TOKEN_ID=BIAS, added to that token's logit")
	f.Int64Var(&r.seed, "seed", -1, "of the sampling noise; equal seeds give equal texts; -1: random")
	f.IntVarP(&r.maxTokens, "max-tokens", "n", 256, "tokens to generate at most; 0: until the context is full")
	f.StringArrayVar(&r.stop, "stop", nil, "end before this text (can be repeated)")
	f.BoolVar(&r.ignoreEnd, "ignore-end", false, "go on after the model's end token")
	f.StringVar(&r.fallback, "fallback", "", "with no cloud in reach: fail, wait or draft (the draft alone answers, unverified); default: the edge's setting")
	f.DurationVar(&r.deadline, "deadline", 0, "give up after this time; 0: never")
	f.StringVar(&r.runAhead, "run-ahead", "", "on, off (waits for proposals) or target passes per token at most; default: the edge's setting")
	f.StringVar(&r.target, "target", "", "name of the target, when the cloud serves several; default: the edge's setting")
	f.StringVar(&r.mode, "mode", "", "where the answer may be written: "+strings.Join(edge.Modes(), ", ")+" (docs/routing.md); default: the edge's setting")
	f.StringVar(&r.privacy, "privacy", "", "what becomes of personal data, if stricter than the edge's setting: placeholders or on_device (docs/privacy.md)")
	f.StringVar(&r.rule, "rule", "", "when a drafted token is accepted: "+speculative.RuleForms+" (docs/tuning.md); default: the edge's setting")
	f.StringVar(&r.objective, "objective", "", "what speculation is to save: "+strings.Join(speculative.Objectives(), ", ")+" (docs/tuning.md); default: the edge's setting")
	f.Float32Var(&r.threshold, "threshold", 0, "with --rule lenient: the fraction of the top probability that is good enough, 0.3 by default")
	f.BoolVar(&r.noDraft, "no-draft", false, "let the target work alone")
}

// request turns the flags into a request, without its input.
func (r *requestFlags) request() (*outriderv1.GenerateRequest, error) {
	s := &outriderv1.Sampling{TopP: r.sampling.TopP, MinP: r.sampling.MinP, Temperature: r.temperature,
		RepetitionPenalty: r.sampling.RepetitionPenalty, PresencePenalty: r.sampling.PresencePenalty,
		FrequencyPenalty: r.sampling.FrequencyPenalty, Seed: uint64(r.seed)}
	if r.seed < 0 {
		s.Seed = rand.Uint64()
	}
	if r.topK < 0 || r.maxTokens < 0 || r.topK > math.MaxInt32 || r.maxTokens > math.MaxInt32 {
		return nil, usagef("--top-k and --max-tokens must be from 0 (off) to %d", math.MaxInt32)
	}
	if r.deadline < 0 || r.deadline.Milliseconds() > math.MaxUint32 || (r.deadline > 0 && r.deadline < time.Millisecond) {
		return nil, usagef("--deadline is %s, must be 0 (none) or from 1ms to 49 days", r.deadline)
	}
	s.TopK = uint32(r.topK)
	for k, v := range r.bias {
		id, err := strconv.ParseUint(k, 10, 31)
		b, err2 := strconv.ParseFloat(v, 32)
		if err != nil || err2 != nil {
			return nil, usagef("--logit-bias %s=%s: must be a token id and a number", k, v)
		}
		if s.LogitBias == nil {
			s.LogitBias = map[uint32]float32{}
		}
		s.LogitBias[uint32(id)] = float32(b)
	}
	if _, err := backend.SamplingFromProto(s); err != nil {
		return nil, usageError{err}
	}
	g := &outriderv1.GenerateRequest{Sampling: s, MaxTokens: uint32(r.maxTokens), Stop: r.stop, IgnoreEnd: r.ignoreEnd,
		DeadlineMs: uint32(r.deadline.Milliseconds()), NoDraft: r.noDraft, Model: r.target}
	mode, err := edge.ParseMode(r.mode)
	if err != nil {
		return nil, usagef("--%s", strings.TrimPrefix(err.Error(), edge.ErrRequest.Error()+": "))
	}
	g.Mode = outriderv1.Mode(mode)
	private, err := edge.ParsePrivacy(r.privacy)
	if err != nil {
		return nil, usagef("--%s", strings.TrimPrefix(err.Error(), edge.ErrRequest.Error()+": "))
	}
	g.Privacy = outriderv1.Privacy(private)
	objective, err := speculative.ParseObjective(r.objective)
	if err != nil {
		return nil, usagef("--%s", strings.TrimPrefix(err.Error(), speculative.ErrObjective.Error()+": "))
	}
	g.Objective = outriderv1.Objective(objective)
	if g.Rule, err = r.acceptance(); err != nil {
		return nil, err
	}
	if g.Fallback, err = parseFallback(r.fallback); err != nil {
		return nil, err
	}
	ahead, err := parseRunAhead(r.runAhead)
	if err != nil {
		return nil, err
	}
	if ahead > 0 {
		g.RunAhead = &outriderv1.RunAhead{MaxPassesPerToken: float32(ahead)}
	}
	return g, nil
}

// acceptance is the rule that the flags say.
func (r *requestFlags) acceptance() (*outriderv1.Rule, error) {
	rule, err := speculative.ParseRule(r.rule)
	if err != nil {
		return nil, usagef("--rule: %s", strings.TrimPrefix(err.Error(), speculative.ErrRule.Error()+": "))
	}
	if r.threshold != 0 {
		if rule.Kind != speculative.Lenient || rule.By != speculative.ByThreshold {
			return nil, usagef("--threshold %g needs --rule lenient", r.threshold)
		}
		rule.Threshold = r.threshold
	}
	if err := rule.Validate(); err != nil {
		return nil, usagef("--threshold is %g, must be above 0 and at most 1", r.threshold)
	}
	return backend.RuleToProto(rule), nil
}

func parseFallback(s string) (outriderv1.Fallback, error) {
	switch s {
	case "":
		return outriderv1.Fallback_FALLBACK_UNSPECIFIED, nil
	case "fail":
		return outriderv1.Fallback_FALLBACK_FAIL, nil
	case "wait":
		return outriderv1.Fallback_FALLBACK_WAIT, nil
	case "draft":
		return outriderv1.Fallback_FALLBACK_DRAFT, nil
	}
	return 0, usagef("fallback is %q, must be fail, wait or draft", s)
}

// checkPrompt refuses what cannot be text.
func checkPrompt(s string) error {
	if strings.TrimSpace(s) == "" {
		return usagef("the prompt is empty: pass it as an argument or on standard input")
	}
	if !utf8.ValidString(s) {
		return usagef("the prompt is not valid UTF-8: convert it first (iconv -t utf-8)")
	}
	return nil
}
