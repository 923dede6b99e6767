// Package models holds the demo pair, a target and a draft with one vocabulary that were trained
// for this project (README.md says how), so that the program runs without any download.
package models

import _ "embed" // the models

// Names of the embedded models, accepted wherever a model file is asked for.
const (
	TargetName = "outrider-demo-target"
	DraftName  = "outrider-demo-draft"
)

//go:embed outrider-demo-target.gguf
var target []byte

//go:embed outrider-demo-draft.gguf
var draft []byte

// Embedded returns the GGUF data of an embedded model; do not change it.
func Embedded(name string) ([]byte, bool) {
	switch name {
	case TargetName:
		return target, true
	case DraftName:
		return draft, true
	}
	return nil, false
}
