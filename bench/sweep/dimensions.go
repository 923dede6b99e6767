package sweep

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/outrider-llm/outrider/bench/link"
	"github.com/outrider-llm/outrider/drafter/suffix"
	"github.com/outrider-llm/outrider/edge"
	"github.com/outrider-llm/outrider/speculative"
)

// dimension is one thing that a sweep varies.
type dimension struct {
	name, standard, help string
	ways                 string // those to which it matters besides Outrider: any of c, s, l (cloud-only, synchronous, co-located)
	set                  func(*Variant, string) error
}

// dimensions are all that can be varied. A new one needs a line here.
func dimensions() []dimension {
	return []dimension{
		{"link", "rtt=0ms", link.Forms, "cs", setLink},
		{"sessions", "1", "at a time, each with a prompt of its own", "csl", func(v *Variant, s string) (err error) {
			v.Sessions, err = whole(s, 1, 1024)
			return err
		}},
		{"temperature", "0", "of sampling", "csl", func(v *Variant, s string) (err error) {
			v.Request.Params.Temperature, err = float32s(s)
			if err != nil {
				return err
			}
			return v.Request.Params.Validate()
		}},
		{"top-p", "1", "of sampling", "csl", func(v *Variant, s string) (err error) {
			v.Request.Params.TopP, err = float32s(s)
			if err != nil {
				return err
			}
			return v.Request.Params.Validate()
		}},
		{"rule", "coupled", "when a drafted token is accepted: " + speculative.RuleForms, "", func(v *Variant, s string) (err error) {
			v.Request.Rule, err = speculative.ParseRule(s)
			return err
		}},
		{"objective", "latency", "what speculation is to save: " + strings.Join(speculative.Objectives(), ", "), "", func(v *Variant, s string) (err error) {
			v.Request.Objective, err = speculative.ParseObjective(s)
			return err
		}},
		{"drafter", "model", "sources of proposals: model, lookup, prediction, suffix (learns within the sweep), joined by +; or none", "", setDrafter},
		{"depth", "0", "tokens drafted beyond the committed ones at most; 0: adaptive", "", func(v *Variant, s string) (err error) {
			v.Request.Depth, err = whole(s, 0, 1024)
			return err
		}},
		{"branches", "on", "second choices too: on or off", "", func(v *Variant, s string) error {
			v.Edge.Branches = s == "on"
			if s != "on" && s != "off" {
				return errors.New("must be on or off")
			}
			return nil
		}},
		{"run-ahead", "1", "target passes per token at most; 1: no bound but the objective's", "", func(v *Variant, s string) (err error) {
			if v.Request.MaxPassesPerToken, err = number(s, 0.001, 1); v.Request.MaxPassesPerToken == 1 {
				v.Request.MaxPassesPerToken = 0 // the objective's, or the cloud's default of 1
			}
			return err
		}},
		{"min-path", "0", "draft while the path probability is at least this; 0: the default", "", func(v *Variant, s string) (err error) {
			v.Edge.MinPath, err = number(s, 0, 1)
			return err
		}},
		{"gap", "0s", "least time between proposals; 0s: the default", "", func(v *Variant, s string) (err error) {
			v.Edge.Gap, err = time.ParseDuration(s)
			return err
		}},
	}
}

// Dimensions lists the names of what can be varied.
func Dimensions() (names []string) {
	for _, d := range dimensions() {
		names = append(names, d.name)
	}
	return names
}

// Describe explains each dimension: its name, its value when none is given, what it is.
func Describe() (rows [][3]string) {
	for _, d := range dimensions() {
		rows = append(rows, [3]string{d.name, d.standard, d.help})
	}
	return rows
}

func (d *dimension) matters(w Way) bool {
	return w == Outrider || strings.Contains(d.ways, map[Way]string{CloudOnly: "c", Synchronous: "s", Colocated: "l"}[w])
}

func whole(s string, low, high int) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < low || n > high {
		return 0, fmt.Errorf("must be a whole number from %d to %d", low, high)
	}
	return n, nil
}

func number(s string, low, high float64) (float64, error) {
	n, err := strconv.ParseFloat(s, 64)
	if err != nil || !(n >= low && n <= high) {
		return 0, fmt.Errorf("must be a number from %g to %g", low, high)
	}
	return n, nil
}

func float32s(s string) (float32, error) {
	n, err := number(s, 0, math.MaxFloat32)
	return float32(n), err
}

func setLink(v *Variant, s string) error {
	v.Link = s
	_, err := link.Parse(s)
	return err
}

// RTT of a link setting, 0 when it tells none.
func RTT(setting string) time.Duration {
	c, err := link.Parse(setting)
	if err != nil {
		return 0
	}
	return c.RTT
}

func setDrafter(v *Variant, s string) error {
	v.Edge.Lookup = edge.LookupOff
	for _, source := range strings.Split(s, "+") {
		switch source {
		case "model":
			v.Draft = true
		case "lookup":
			v.Edge.Lookup = edge.LookupAlways
		case "suffix": // learns from what the sweep has generated before with this variant
			v.Edge.Suffix = suffix.New()
		case "prediction":
			if v.Expected = true; v.Edge.Lookup == edge.LookupOff {
				v.Edge.Lookup = edge.LookupAuto
			}
		case "none":
			v.Request.NoDraft = s == "none"
			if s != "none" {
				return errors.New("none stands alone")
			}
		default:
			return fmt.Errorf("no drafter %q: use model, lookup, prediction, suffix or none", source)
		}
	}
	return nil
}
