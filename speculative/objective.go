package speculative

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Objective says what a session's speculation is to save. None makes it slower than streaming.
type Objective uint8

// The values of Objective are those of the wire.
const (
	ObjectiveDefault  Objective = iota // whoever is asked decides; to the core it is ObjectiveLatency
	ObjectiveLatency                   // time, whatever it takes
	ObjectiveCost                      // passes of the target
	ObjectiveEnergy                    // tokens drafted on the device
	ObjectiveBalanced                  // some of each
)

var objectiveWords = [...]string{"", "latency", "cost", "energy", "balanced"}

// ErrObjective is wrapped by errors about objectives.
var ErrObjective = errors.New("invalid objective")

// Objectives are the words of all objectives but the default.
func Objectives() []string { return slices.Clone(objectiveWords[1:]) }

// ParseObjective reads an objective's word; the empty word is ObjectiveDefault.
func ParseObjective(s string) (Objective, error) {
	if i := slices.Index(objectiveWords[:], s); i >= 0 {
		return Objective(i), nil
	}
	return 0, fmt.Errorf("%w: objective %q is unknown: use %s", ErrObjective, s, strings.Join(Objectives(), ", "))
}

// Validate says whether the value is one of the above. Errors wrap ErrObjective.
func (o Objective) Validate() error {
	if int(o) >= len(objectiveWords) {
		return fmt.Errorf("%w: objective %d is unknown: use 0 to %d", ErrObjective, o, len(objectiveWords)-1)
	}
	return nil
}

func (o Objective) String() string { return objectiveWords[min(int(o), len(objectiveWords)-1)] }

// Aims are what an objective comes down to.
type Aims struct {
	Worth     float64 // of ProposerConfig
	MaxPasses float64 // MaxPassesPerToken of VerifierConfig
	Patience  float64 // of VerifierConfig
}

// Aims returns the settings that serve the objective, found by simulation (docs/tuning.md). The explicit
// bound of a request on passes goes before the one here.
func (o Objective) Aims() Aims {
	switch o {
	case ObjectiveCost:
		return Aims{Worth: 0.02, MaxPasses: fewestPasses, Patience: 0.9}
	case ObjectiveEnergy:
		return Aims{Worth: 0.2, MaxPasses: 0.3, Patience: 0.2}
	case ObjectiveBalanced:
		return Aims{Worth: 0.02, MaxPasses: 0.3, Patience: 0.2}
	}
	return Aims{MaxPasses: 1}
}

// fewestPasses asks for as few as the protocol allows.
const fewestPasses = 0.001
