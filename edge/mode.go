package edge

import (
	"slices"
	"strings"
)

// Mode says where an answer may be written (docs/routing.md).
type Mode uint8

// The values of Mode are those of the wire.
const (
	ModeDefault        Mode = iota // the edge's configuration decides
	ModeCooperative                // the draft proposes, the target decides
	ModeAuto                       // the edge's routing policy decides, before and while the draft writes
	ModePreferOnDevice             // the draft alone while it can, else the target
	ModeOnlyOnDevice               // the draft alone; nothing of the request leaves the device
	ModePreferInCloud              // the target alone while a cloud is in reach, else the draft
	ModeOnlyInCloud                // the target alone
)

var modeWords = [...]string{"", "cooperative", "auto", "prefer_on_device", "only_on_device", "prefer_in_cloud", "only_in_cloud"}

// Modes are the words of all modes but the default.
func Modes() []string { return slices.Clone(modeWords[1:]) }

// ParseMode reads a mode's word; the empty word is ModeDefault. Hyphens count as underscores.
func ParseMode(s string) (Mode, error) {
	if i := slices.Index(modeWords[:], strings.ReplaceAll(strings.ToLower(s), "-", "_")); i >= 0 {
		return Mode(i), nil
	}
	return 0, requestError("mode %q is unknown: use %s or %s", s, strings.Join(modeWords[1:len(modeWords)-1], ", "), modeWords[len(modeWords)-1])
}

func (m Mode) String() string { return modeWords[min(int(m), len(modeWords)-1)] }

// Where an answer is written.
const (
	OnDevice    = "device"      // by the draft alone, unverified
	Cooperative = "cooperative" // the draft proposes, the target decides
	InCloud     = "cloud"       // by the target alone
)

// Routing tells where an answer was written, and why.
type Routing struct {
	Where  string // OnDevice, Cooperative or InCloud: where its last token was decided
	Mode   Mode   // in force, never ModeDefault
	Reason string
	Rule   string // of the policy, that decided; empty: the mode did
	// EscalatedAt is how many tokens the draft had written when the cloud took over; 0: it did not. Shown of
	// them had been given out before, unverified; with Kept of the others the target agreed.
	EscalatedAt, Shown, Kept int
	Score                    float64 // learned, at the beginning; 0: none
}

// modelNames are names of models that ask for a mode.
var modelNames = [...]struct {
	name string
	mode Mode
}{
	{"outrider", ModeDefault}, {"outrider:auto", ModeAuto}, {"outrider:cooperative", ModeCooperative},
	{"outrider:edge", ModeOnlyOnDevice}, {"outrider:prefer-edge", ModePreferOnDevice},
	{"outrider:cloud", ModeOnlyInCloud}, {"outrider:prefer-cloud", ModePreferInCloud},
}

// ModelNames are names that a request may give as its model to choose a mode for the default target.
func ModelNames() []string {
	out := make([]string, len(modelNames))
	for i, m := range modelNames {
		out[i] = m.name
	}
	return out
}

// ModeOfModel says whether a model's name stands for a mode, and for which.
func ModeOfModel(name string) (Mode, bool) {
	for _, m := range modelNames {
		if m.name == name {
			return m.mode, true
		}
	}
	return ModeDefault, false
}
