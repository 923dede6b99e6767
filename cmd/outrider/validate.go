package main

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/outrider-llm/outrider/cloud"
	"github.com/outrider-llm/outrider/edge"
	"github.com/outrider-llm/outrider/speculative"
)

// validate says which settings are out of range, and what the range is. What other commands need does
// not matter to one: names of models are looked up when they are used.
func (c *Config) validate() []error {
	errs := append(c.tenantErrors(), c.accessErrors()...)
	for _, n := range []struct {
		key   string
		v     float64
		lo    float64
		hi    float64
		hints string
	}{
		{"cloud.pace", c.Cloud.Pace, 0, 1e6, "tokens a second; 0: no pace"},
		{"cloud.max_sessions", float64(c.Cloud.MaxSessions), 1, 1e6, "sessions per target"},
		{"cloud.prefixes", float64(c.Cloud.Prefixes), 0, 1e6, "finished sessions kept, 0: none"},
		{"edge.conversations", float64(c.Edge.Conversations), 0, 1e4, "finished generations remembered, 0: none"},
		{"telemetry.sample", c.Telemetry.Sample, 0, 1, "share of the traces that are kept"},
		{"edge.router.share", c.Edge.Router.Share, 0, 1, "share of the answers that are to need the cloud, 0: none is set"},
		{"prices.input", c.Prices.Input, 0, 1e12, "cost of a million prompt tokens"},
		{"prices.output", c.Prices.Output, 0, 1e12, "cost of a million decided tokens"},
		{"prices.pass", c.Prices.Pass, 0, 1e12, "cost of a million passes"},
		{"prices.position", c.Prices.Position, 0, 1e12, "cost of a million scored tokens"},
		{"edge.depth", float64(c.Edge.Depth), -1, 1024, "tokens to draft ahead, 0: adaptive, -1: never draft"},
	} {
		if math.IsNaN(n.v) || n.v < n.lo || n.v > n.hi {
			errs = append(errs, c.from.wrong(n.key, "%s is %g, must be between %g and %g (%s)", n.key, n.v, n.lo, n.hi, n.hints))
		}
	}
	for _, d := range []struct {
		key string
		v   time.Duration
	}{{"cloud.drain", c.Cloud.Drain}, {"cloud.idle_ttl", c.Cloud.IdleTTL}, {"cloud.prefix_ttl", c.Cloud.PrefixTTL}, {"edge.fallback_after", c.Edge.FallbackAfter}, {"edge.drain", c.Edge.Drain}} {
		if d.v < 0 || (d.v > 0 && d.v < time.Millisecond) {
			errs = append(errs, c.from.wrong(d.key, "%s is %s, must be 0 or a time such as 5s (a number without unit counts as nanoseconds)", d.key, d.v))
		}
	}
	if c.Cloud.RunAhead == 0 {
		errs = append(errs, c.from.wrong("cloud.run_ahead", "cloud.run_ahead must be on, off or a number up to 1: the cloud has no other default"))
	}
	if _, err := cloud.ParseDraft(c.Cloud.Draft); err != nil {
		errs = append(errs, c.from.wrong("cloud.draft", "cloud.draft is %q, must be off or lookup", c.Cloud.Draft))
	}
	if _, err := edge.ParseFallback(c.Edge.Fallback); err != nil {
		errs = append(errs, c.from.wrong("edge.fallback", "edge.fallback is %q, must be fail, wait or draft", c.Edge.Fallback))
	}
	if m, err := edge.ParseMode(c.Edge.Mode); err != nil || m == edge.ModeDefault {
		errs = append(errs, c.from.wrong("edge.mode", "edge.mode is %q, must be one of %s", c.Edge.Mode, strings.Join(edge.Modes(), ", ")))
	}
	if p, err := edge.ParsePrivacy(c.Edge.Privacy.Action); err != nil || p == edge.PrivacyDefault {
		errs = append(errs, c.from.wrong("edge.privacy.action", "edge.privacy.action is %q, must be off, placeholders or on_device", c.Edge.Privacy.Action))
	}
	if r, err := speculative.ParseRule(c.Edge.Rule); err != nil || r.Kind == speculative.RuleDefault {
		errs = append(errs, c.from.wrong("edge.rule", "edge.rule is %q, must be %s", c.Edge.Rule, speculative.RuleForms))
	}
	if o, err := speculative.ParseObjective(c.Edge.Objective); err != nil || o == speculative.ObjectiveDefault {
		errs = append(errs, c.from.wrong("edge.objective", "edge.objective is %q, must be one of %s", c.Edge.Objective, strings.Join(speculative.Objectives(), ", ")))
	}
	if u := c.Edge.Uplink; u != "fast" && u != "thrifty" {
		errs = append(errs, c.from.wrong("edge.uplink", "edge.uplink is %q, must be fast or thrifty", u))
	}
	if t := c.Edge.Translate; t != "auto" && t != "off" {
		errs = append(errs, c.from.wrong("edge.translate", "edge.translate is %q, must be auto or off", t))
	}
	if _, err := edge.ParseLookup(c.Edge.Lookup); err != nil {
		errs = append(errs, c.from.wrong("edge.lookup", "edge.lookup is %q, must be auto, off or always", c.Edge.Lookup))
	}
	return append(errs, c.validateNames()...)
}

// validateNames checks what can be known of models and pairs without looking for files.
func (c *Config) validateNames() []error {
	var errs []error
	if _, ok := c.Pairs[c.Pair]; c.Pair != "" && !ok {
		names := slices.Sorted(maps.Keys(c.Pairs))
		errs = append(errs, c.from.wrong("pair", "there is no pair %q in pairs%s", c.Pair, orList(c.Pair, names)))
	}
	for _, name := range slices.Sorted(maps.Keys(c.Pairs)) {
		if c.Pairs[name].Target == "" {
			key := "pairs[" + name + "]"
			errs = append(errs, c.from.wrong(key, "pair %s has no target", name))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Models.Named)) {
		m, key := c.Models.Named[name], "models."+name
		if m.Model == "" && m.Engine != "mock" {
			errs = append(errs, c.from.wrong(key, "models.%s names no model: add a line model: FILE", name))
		}
		if _, _, err := m.pace(); err != nil {
			errs = append(errs, c.from.wrong(key+".pace", "%s", err))
		}
		if strings.ContainsAny(name, "=, \t\n") || name == "none" || name == "random" {
			errs = append(errs, c.from.wrong(key, "%q cannot be a model's name: it must be without =, comma and space, and not none or random", name))
		}
	}
	return errs
}

// orList is didYouMean, or the names that there are.
func orList(name string, known []string) string {
	if hint := didYouMean(name, known); hint != "" {
		return hint
	}
	if len(known) == 0 {
		return ""
	}
	return ": there is " + strings.Join(known, ", ")
}

// checkAddress refuses what is no host:port. An address that names a scheme of gRPC is left alone.
func checkAddress(what, addr, example string) error {
	if strings.Contains(addr, ":///") || strings.HasPrefix(addr, "unix:") {
		return nil
	}
	host, port, err := net.SplitHostPort(addr)
	if err == nil {
		var n uint64
		if n, err = strconv.ParseUint(port, 10, 16); err == nil && n == 0 {
			err = errors.New("port 0")
		}
	}
	if err != nil || strings.ContainsAny(host, "/ ?#@") || host == "" {
		return usagef("%s is %q, must be host:port such as %s", what, addr, example)
	}
	return nil
}

// addressErrors checks the addresses that are dialled.
func (c *Config) addressErrors() []error {
	var errs []error
	for _, a := range edge.Addresses(c.Edge.Cloud) {
		if err := checkAddress("edge.cloud", a, "gpu1:7600 or gpu1:7600,gpu2:7600"); err != nil {
			errs = append(errs, c.from.wrong("edge.cloud", "%s", fmt.Sprint(err)))
		}
	}
	return errs
}
