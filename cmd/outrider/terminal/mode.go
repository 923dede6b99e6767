package terminal

import (
	"fmt"
	"slices"
	"strings"

	outriderv1 "github.com/outrider-llm/outrider/proto/outrider/v1"
)

// modeWord is a mode as people write it.
func modeWord(m outriderv1.Mode) string {
	return strings.ToLower(strings.TrimPrefix(m.String(), "MODE_"))
}

// modeWords are all of them.
func modeWords() []string {
	var out []string
	for n := range outriderv1.Mode_name {
		if n > 0 {
			out = append(out, modeWord(outriderv1.Mode(n)))
		}
	}
	slices.Sort(out)
	return out
}

// mode sets or shows where answers are written.
func (m *Model) mode(word string) (string, error) {
	r := m.c.Request
	if word != "" {
		n, ok := outriderv1.Mode_value["MODE_"+strings.ToUpper(strings.ReplaceAll(word, "-", "_"))]
		if !ok || n == 0 {
			return "", fmt.Errorf("/mode %s: must be %s", word, strings.Join(modeWords(), ", "))
		}
		r.Mode, r.NoDraft = outriderv1.Mode(n), false
	}
	if r.GetMode() == 0 {
		return "mode: the edge's; there are " + strings.Join(modeWords(), ", "), nil
	}
	return "mode: " + modeWord(r.GetMode()), nil
}

// routed says where an answer was written, and why; empty: by draft and target, as always.
func routed(r *outriderv1.Routing) string {
	switch {
	case r.GetEscalatedAt() > 0:
		return fmt.Sprintf("the cloud took over after %d tokens of the device, %d kept: %s", r.GetEscalatedAt(), r.GetShown()+r.GetKept(), Clean(r.GetReason()))
	case r.GetWhere() == "device":
		return "on the device: " + Clean(r.GetReason())
	case r.GetWhere() == "cloud":
		return "in the cloud: " + Clean(r.GetReason())
	}
	return ""
}
