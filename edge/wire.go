package edge

import (
	"fmt"
	"math"
	"time"

	"github.com/outrider-llm/outrider/backend"
	outriderv1 "github.com/outrider-llm/outrider/proto/outrider/v1"
	"github.com/outrider-llm/outrider/speculative"
)

func tokensToProto(in []Token) []uint32 {
	out := make([]uint32, len(in))
	for i, t := range in {
		out[i] = uint32(t)
	}
	return out
}

// proposeToProto converts a proposal; confidence travels in 1/255.
func proposeToProto(p *speculative.Propose) *outriderv1.Propose {
	m := &outriderv1.Propose{Epoch: uint32(p.Epoch), First: uint32(p.First), Tokens: tokensToProto(p.Tokens)}
	for _, n := range p.Parents {
		m.Parents = append(m.Parents, uint32(n+1))
	}
	for _, c := range p.Confidence {
		m.Confidence = append(m.Confidence, byte(math.Round(float64(min(1, max(0, c)))*255)))
	}
	m.DrawnFrom = backend.SparsesToProto(p.Q)
	return m
}

// commitFromProto validates what can be validated without the log. Errors wrap
// speculative.ErrProtocol.
func commitFromProto(m *outriderv1.Commit) (speculative.Commit, error) {
	bad := func(format string, a ...any) (speculative.Commit, error) {
		return speculative.Commit{}, fmt.Errorf("%w: %s", speculative.ErrProtocol, fmt.Sprintf(format, a...))
	}
	if m.GetStart() > math.MaxInt32 || len(m.GetFates()) != len(m.GetTokens()) {
		return bad("commit at %d of %d tokens with %d fates", m.GetStart(), len(m.GetTokens()), len(m.GetFates()))
	}
	if m.GetFinish() < 0 || m.GetFinish() > outriderv1.Finish_FINISH_CANCELLED {
		return bad("finish %d is unknown", m.GetFinish())
	}
	c := speculative.Commit{Start: int(m.GetStart()), JudgedNode: int(min(m.GetJudgedNode(), math.MaxInt32)), Heard: int(min(m.GetHeard(), math.MaxInt32)),
		Queue: time.Duration(m.GetQueueUs()) * time.Microsecond, Score: time.Duration(m.GetScoreUs()) * time.Microsecond,
		Age: time.Duration(m.GetAgeUs()) * time.Microsecond, Load: int(min(m.GetLoad(), math.MaxInt32)), Finish: speculative.Finish(m.GetFinish()), Usage: usageFromProto(m.GetUsage())}
	var ok bool
	if c.Logprobs, ok = logprobsFromProto(m.GetLogprobs(), len(m.GetTokens())); !ok {
		return bad("malformed log probabilities")
	}
	for i, t := range m.GetTokens() {
		if t > math.MaxInt32 {
			return bad("commit holds token %d", t)
		}
		f := m.GetFates()[i]
		if f < 0 || f > outriderv1.Fate_FATE_RUN_AHEAD {
			return bad("fate %d is unknown", f)
		}
		c.Tokens, c.Fates = append(c.Tokens, Token(t)), append(c.Fates, speculative.Fate(f))
	}
	return c, nil
}

func usageFromProto(u *outriderv1.Usage) speculative.Usage {
	return speculative.Usage{Drafted: int(u.GetDrafted()), Judged: int(u.GetJudged()), Accepted: int(u.GetAccepted()),
		Late: int(u.GetLate()), Stale: int(u.GetStale()), Passes: int(u.GetPasses()),
		ScoringPasses: int(u.GetScoringPasses()), Positions: int(u.GetPositions()), Prefilled: int(u.GetPrefilled()), Held: int(u.GetHeld()), Lenient: int(u.GetLenient()),
		OwnJudged: int(u.GetOwnJudged()), OwnAccepted: int(u.GetOwnAccepted())}
}

func usageToProto(u speculative.Usage) *outriderv1.Usage {
	return &outriderv1.Usage{Drafted: uint64(u.Drafted), Judged: uint64(u.Judged), Accepted: uint64(u.Accepted),
		Late: uint64(u.Late), Stale: uint64(u.Stale), Passes: uint64(u.Passes),
		ScoringPasses: uint64(u.ScoringPasses), Positions: uint64(u.Positions), Prefilled: uint64(u.Prefilled), Held: uint64(u.Held), Lenient: uint64(u.Lenient),
		OwnJudged: uint64(u.OwnJudged), OwnAccepted: uint64(u.OwnAccepted)}
}

// SummaryToProto converts a summary for the wire.
func SummaryToProto(s Summary) *outriderv1.Summary {
	return &outriderv1.Summary{
		Finish: outriderv1.Finish(s.Finish), PromptTokens: uint32(s.PromptTokens), GeneratedTokens: uint32(s.Tokens),
		Usage: usageToProto(s.Usage), Resumes: uint32(s.Resumes), UplinkBytes: uint64(s.Uplink),
		DownlinkBytes: uint64(s.Downlink), FirstTokenUs: uint64(s.FirstToken.Microseconds()),
		TotalUs: uint64(s.Total.Microseconds()), Drafted: uint64(s.Drafted), Unverified: uint64(s.Unverified), Exact: s.Exact,
		ShapeDependent: s.ShapeDependent, OpeningBytes: uint64(s.Opening), PrefixTokens: uint32(s.Prefix), DraftHeld: uint32(s.DraftHeld),
		Routing: routingToProto(s.Routing), Cost: s.Cost, CostCloudOnly: s.CostCloudOnly, DeviceJoules: s.Joules, Origins: originsToProto(s.Origins),
		Rule: backend.RuleToProto(s.Rule), Lossless: s.Lossless, Personal: personalToProto(s.Personal),
	}
}

// SummaryFromProto converts a summary that came over the wire; what the wire does not carry stays
// empty.
func SummaryFromProto(m *outriderv1.Summary) Summary {
	rule, _ := backend.RuleFromProto(m.GetRule()) // of a newer edge: its text says what it can
	return Summary{Rule: rule, Lossless: m.GetLossless(),
		Finish: speculative.Finish(m.GetFinish()), PromptTokens: int(m.GetPromptTokens()), Tokens: int(m.GetGeneratedTokens()),
		Usage: usageFromProto(m.GetUsage()), Resumes: int(m.GetResumes()), Uplink: int(m.GetUplinkBytes()),
		Downlink: int(m.GetDownlinkBytes()), FirstToken: time.Duration(m.GetFirstTokenUs()) * time.Microsecond,
		Total: time.Duration(m.GetTotalUs()) * time.Microsecond, Drafted: int(m.GetDrafted()),
		Unverified: int(m.GetUnverified()), Exact: m.GetExact(),
		ShapeDependent: m.GetShapeDependent(),
		Opening:        int(m.GetOpeningBytes()), Prefix: int(m.GetPrefixTokens()), DraftHeld: int(m.GetDraftHeld()), Routing: RoutingFromProto(m.GetRouting()),
		Cost: m.GetCost(), CostCloudOnly: m.GetCostCloudOnly(), Joules: m.GetDeviceJoules(), Origins: originsFromProto(m.GetOrigins()),
		Personal: personalFromProto(m.GetPersonal()),
	}
}

func routingToProto(r Routing) *outriderv1.Routing {
	return &outriderv1.Routing{Where: r.Where, Mode: outriderv1.Mode(r.Mode), Reason: r.Reason, Rule: r.Rule,
		EscalatedAt: uint32(r.EscalatedAt), Shown: uint32(r.Shown), Kept: uint32(r.Kept), Score: r.Score}
}

// RoutingFromProto converts what came over the wire.
func RoutingFromProto(m *outriderv1.Routing) Routing {
	return Routing{Where: m.GetWhere(), Mode: Mode(min(max(m.GetMode(), 0), 255)), Reason: m.GetReason(), Rule: m.GetRule(),
		EscalatedAt: int(m.GetEscalatedAt()), Shown: int(m.GetShown()), Kept: int(m.GetKept()), Score: m.GetScore()}
}
