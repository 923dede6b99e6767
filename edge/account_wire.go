package edge

import (
	"context"
	"time"

	outriderv1 "github.com/outrider-llm/outrider/proto/outrider/v1"
)

func originsToProto(o Origins) *outriderv1.Origins {
	return &outriderv1.Origins{Device: uint64(o.Device), Accepted: uint64(o.Accepted), Correction: uint64(o.Correction),
		Bonus: uint64(o.Bonus), RunAhead: uint64(o.RunAhead)}
}

func originsFromProto(m *outriderv1.Origins) Origins {
	return Origins{Device: int(m.GetDevice()), Accepted: int(m.GetAccepted()), Correction: int(m.GetCorrection()),
		Bonus: int(m.GetBonus()), RunAhead: int(m.GetRunAhead())}
}

// Stats implements EdgeService.
func (s *service) Stats(context.Context, *outriderv1.StatsRequest) (*outriderv1.StatsResponse, error) {
	t := s.e.Totals()
	m := &outriderv1.StatsResponse{Since: t.Since.Unix(), Answers: uint64(t.Answers), Where: map[string]uint64{}, Escalated: uint64(t.Escalated),
		PromptTokens: uint64(t.PromptTokens), Tokens: uint64(t.Tokens), Origins: originsToProto(t.Origins), TargetPasses: uint64(t.Passes),
		TargetPositions: uint64(t.Positions), TargetPrefilled: uint64(t.Prefilled), UplinkBytes: uint64(t.Uplink), DownlinkBytes: uint64(t.Downlink),
		Cost: t.Cost, CostCloudOnly: t.CostCloudOnly, Priced: t.Priced, DeviceJoules: t.Joules, DeviceJoulesKnown: t.EnergyKnown}
	for where, n := range t.Where {
		m.Where[where] = uint64(n)
	}
	return m, nil
}

// TotalsFromProto converts what came over the wire.
func TotalsFromProto(m *outriderv1.StatsResponse) Totals {
	t := Totals{Since: time.Unix(m.GetSince(), 0), Answers: int(m.GetAnswers()), Where: map[string]int{}, Escalated: int(m.GetEscalated()),
		PromptTokens: int(m.GetPromptTokens()), Tokens: int(m.GetTokens()), Origins: originsFromProto(m.GetOrigins()), Passes: int(m.GetTargetPasses()),
		Positions: int(m.GetTargetPositions()), Prefilled: int(m.GetTargetPrefilled()), Uplink: int(m.GetUplinkBytes()), Downlink: int(m.GetDownlinkBytes()),
		Cost: m.GetCost(), CostCloudOnly: m.GetCostCloudOnly(), Priced: m.GetPriced(), Joules: m.GetDeviceJoules(), EnergyKnown: m.GetDeviceJoulesKnown()}
	for where, n := range m.GetWhere() {
		t.Where[where] = int(n)
	}
	return t
}
