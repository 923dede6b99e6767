package main

import (
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/outrider-llm/outrider/backend/confine"
)

// TestSandboxIsOn: plugins are confined unless the configuration says otherwise, and reach the network only to be of use.
func TestSandboxIsOn(t *testing.T) {
	quiet := slog.New(slog.DiscardHandler)
	for _, c := range []struct {
		m       ModelConfig
		free    bool
		network bool
	}{
		{m: ModelConfig{Model: "m"}},
		{m: ModelConfig{Model: "m", Engine: "./plugin"}},
		{m: ModelConfig{Model: "m", Engine: "./plugin", Network: true}, network: true},
		{m: ModelConfig{Model: "http://127.0.0.1:8000", Engine: "vllm", Tokenizer: "t"}, network: true},
		{m: ModelConfig{Model: "m", Sandbox: "on"}},
		{m: ModelConfig{Model: "m", Sandbox: "off"}, free: true},
	} {
		h, err := c.m.host("m", quiet)
		if err != nil || (h.Confine == nil) != c.free || h.Confine != nil && h.Confine.Network != c.network {
			t.Errorf("%+v: %+v, %v", c.m, h.Confine, err)
		}
	}
	p := PerceptionConfig{Engine: "local", Read: []string{"/x"}}
	if h, err := p.host(quiet); err != nil || h.Confine == nil || h.Confine.Network || !slices.Contains(h.Confine.Read, "/x") {
		t.Errorf("perception: %+v, %v", h.Confine, err)
	}
	if _, err := (ModelConfig{Model: "m", Sandbox: "no"}).host("the draft", quiet); err == nil || !strings.Contains(err.Error(), "must be on or off") {
		t.Errorf("%v", err)
	}
	named := ModelsConfig{Named: map[string]ModelConfig{"big": {Model: "m", Sandbox: "off", Read: []string{"/a"}}}}
	if m := named.named(ModelConfig{Model: "big", Read: []string{"/b"}}); m.Sandbox != "off" || !slices.Equal(m.Read, []string{"/a", "/b"}) {
		t.Errorf("%+v", m)
	}
	// Traces are delivered by the plugins.
	cfg := &Config{Cloud: CloudConfig{Targets: []ModelConfig{{Model: "m"}}}}
	if cfg.traced(nil); cfg.Cloud.Targets[0].Network || cfg.Edge.Draft.Network {
		t.Error("the network without traces")
	}
}

func TestDoctorTellsOfTheSandbox(t *testing.T) {
	_, out, errs := outrider(t, "", "doctor")
	if !strings.Contains(out, "sandbox\n  kernel      "+confine.Support().String()) {
		t.Errorf("%s%s", out, errs)
	}
}
