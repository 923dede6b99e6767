package main

import (
	"fmt"
	"strings"

	"github.com/outrider-llm/outrider/edge"
	outriderv1 "github.com/outrider-llm/outrider/proto/outrider/v1"
)

// routingJSON is where an answer was written, as in the API.
func routingJSON(m *outriderv1.Routing) map[string]any {
	r := edge.RoutingFromProto(m)
	out := map[string]any{"where": r.Where, "mode": r.Mode.String(), "reason": r.Reason, "rule": r.Rule, "escalated_at": nil}
	if r.EscalatedAt > 0 {
		out["escalated_at"], out["shown"], out["kept"] = r.EscalatedAt, r.Shown, r.Kept
	}
	if r.Score > 0 {
		out["score"] = r.Score
	}
	return out
}

// routingLine says in a few words where an answer was written; empty: as always, cooperatively.
func routingLine(m *outriderv1.Routing) string {
	r := edge.RoutingFromProto(m)
	switch {
	case r.EscalatedAt > 0:
		return fmt.Sprintf("the cloud took over after %d tokens of the device, %d kept: %s", r.EscalatedAt, r.Shown+r.Kept, oneLineText(r.Reason))
	case r.Where == edge.OnDevice:
		return "on the device: " + oneLineText(r.Reason)
	case r.Where == edge.InCloud:
		return "in the cloud: " + oneLineText(r.Reason)
	}
	return ""
}

func oneLineText(s string) string { return strings.Join(strings.Fields(s), " ") }
