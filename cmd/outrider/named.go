package main

import (
	"maps"
	"os"
	"slices"

	"github.com/outrider-llm/outrider/models"
	"github.com/outrider-llm/outrider/models/local"
)

// named fills in what a model's name in models stands for; what m itself says counts more.
func (c ModelsConfig) named(m ModelConfig) ModelConfig {
	base, ok := c.Named[m.Model]
	if !ok {
		return m
	}
	out := base
	out.Name = firstWord(firstWord(m.Name, base.Name), m.Model)
	out.Engine, out.SHA256, out.Pace, out.Tokenizer = firstWord(m.Engine, base.Engine), firstWord(m.SHA256, base.SHA256),
		firstWord(m.Pace, base.Pace), firstWord(m.Tokenizer, base.Tokenizer)
	out.Dir, out.User = firstWord(m.Dir, base.Dir), firstWord(m.User, base.User)
	if m.Args != nil {
		out.Args = m.Args
	}
	if m.Env != nil {
		out.Env = m.Env
	}
	if len(m.Options) > 0 {
		out.Options = maps.Clone(base.Options)
		if out.Options == nil {
			out.Options = map[string]string{}
		}
		maps.Copy(out.Options, m.Options)
	}
	return out
}

// served is what the cloud serves: its targets, or that of the pair in force, or the embedded one.
func (c *Config) served() []ModelConfig {
	if len(c.Cloud.Targets) > 0 {
		return c.Cloud.Targets
	}
	if p, ok := c.Pairs[c.Pair]; ok {
		return []ModelConfig{{Model: p.Target}}
	}
	return []ModelConfig{{Model: models.TargetName}}
}

// drafting says which target the edge asks for (empty: the cloud's default) and which draft it uses.
func (c *Config) drafting() (target string, draft ModelConfig) {
	target, draft = c.Edge.Model, c.Edge.Draft
	pair, ok := c.Pairs[c.Pair]
	if ok && target == "" {
		target = pair.Target
	}
	if ok = ok && pair.Target == target; !ok && target != "" {
		pair, ok = c.pairOf(target)
	}
	if draft.Model == "" {
		draft.Model = models.DraftName
		if ok && pair.Draft != "" {
			draft.Model = pair.Draft
		}
	}
	if target != "" {
		target = c.Models.named(ModelConfig{Model: target}).label()
	}
	return target, draft
}

// pairOf returns the first pair, by name, with that target.
func (c *Config) pairOf(target string) (PairConfig, bool) {
	for _, name := range slices.Sorted(maps.Keys(c.Pairs)) {
		if p := c.Pairs[name]; p.Target == target {
			return p, true
		}
	}
	return PairConfig{}, false
}

// names lists what a model can be called here: in the configuration, embedded, on this machine.
func (c ModelsConfig) names() []string {
	all := slices.Sorted(maps.Keys(c.Named))
	all = append(all, models.TargetName, models.DraftName)
	e := local.Host()
	for _, m := range e.Find(e.Dir(c.Dir)) {
		all = append(all, m.Name)
	}
	return all
}

func isFile(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
