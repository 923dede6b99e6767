package router

import (
	"errors"
	"strings"
	"testing"
)

func mustParse(t *testing.T, text string) *Policy {
	t.Helper()
	p, err := Parse("p.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestDefaultPolicy(t *testing.T) {
	p, err := Default()
	if err != nil {
		t.Fatal(err)
	}
	calm := Facts{"link.up": true, "prompt.tokens": 20.0, "prompt.kind": "chat", "prompt.tools": false, "prompt.constrained": false}
	with := func(kv ...any) Facts {
		f := Facts{}
		for k, v := range calm {
			f[k] = v
		}
		for i := 0; i < len(kv); i += 2 {
			f[kv[i].(string)] = kv[i+1]
		}
		return f
	}
	for _, c := range []struct {
		f    Facts
		to   Place
		rule string
	}{
		{calm, TryDevice, "simple"},
		{Facts{}, TryDevice, "simple"},
		{with("private.kinds", []string{"email"}, "link.up", false), Device, "private"},
		{with("private.kinds", []string{}), TryDevice, "simple"},
		{with("link.up", false), TryDevice, "offline"},
		{with("device.battery", 0.1, "device.charging", false), Cloud, "exhausted"},
		{with("device.battery", 0.1, "device.charging", true), TryDevice, "simple"},
		{with("device.battery", 0.1), TryDevice, "simple"},      // whether it charges is unknown
		{with("device.temperature", 95.0), Cloud, "hot"},        // the load is unknown, but does not matter
		{with("device.temperature", 50.0), TryDevice, "simple"}, // it would matter
		{with("prompt.kind", "math"), Cooperative, "exacting"},
		{with("prompt.kind", "math", "score", 0.9), TryDevice, "simple"},
		{with("score", 0.2), Cooperative, "unpromising"},
		{with("score", 0.7, "threshold", 0.8), Cooperative, "unpromising"},
		{with("score", 0.4, "threshold", 0.3), TryDevice, "simple"},
		{with("prompt.tools", true), Cooperative, "exacting"},
		{with("draft.agreement", 0.1), Cooperative, "strangers"},
		{with("prompt.tokens", 5000.0), Cooperative, "long"},
		{with("prompt.tokens", 5000.0, "cloud.pressure", 0.5, "lot", 0.4), TryDevice, "brown-out"},
		{with("prompt.tokens", 5000.0, "cloud.pressure", 0.5, "lot", 0.6), Cooperative, "long"},
		{with("prompt.tools", true, "cloud.pressure", 0.5, "lot", 0.4), Cooperative, "exacting"},
	} {
		if d := p.Begin(c.f); d.To != c.to || d.Rule != c.rule || d.Why == "" {
			t.Errorf("%v: %+v, want %s by %s", c.f, d, c.to, c.rule)
		}
	}
	c := NewConfidence(p.Window)
	for i, v := range []float64{0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6} {
		c.Add(v)
		f := Facts{}
		c.Facts(f)
		if d, ok := p.During(f); ok != (i >= 11) || ok && d.Rule != "doubtful" {
			t.Errorf("after %d tokens: %v %v", i+1, d, ok)
		}
		f["cloud.pressure"], f["lot"] = 0.3, 0.2
		if d, ok := p.During(f); ok {
			t.Errorf("a cloud to be spared takes over: %v", d)
		}
	}
}

func TestErrorsNameLineAndColumn(t *testing.T) {
	for text, want := range map[string]string{
		"begin:\n  - rule: a\n    when: prompt.tokns > 3\n    to: device\n":                    "p.yaml:3:17: undeclared reference to 'prompt.tokns' (did you mean 'prompt.tokens'?)",
		"begin:\n  - rule: a\n    when: 'prompt.tokens >'\n    to: device\n":                   "p.yaml:3:27",
		"begin:\n  - rule: a\n    when: |\n      link.up &&\n      nonsense\n    to: device\n": "p.yaml:5:",
		"begin:\n  - rule: a\n    when: prompt.tokens\n    to: device\n":                       "p.yaml:3:11: the condition is a double",
		"begin:\n  - rule: a\n    when: \"true\"\n    to: moon\n":                              "p.yaml:4:9: \"moon\" is no place here: use one of device, try_device",
		"during:\n  - rule: a\n    when: \"true\"\n    to: device\n":                           "\"device\" is no place here",
		"begin:\n  - when: \"true\"\n    to: device\n":                                         "has no name",
		"begin:\n  - rule: a\n    to: device\n":                                                "when it holds",
		"begin:\n  - rule: a\n    when: \"true\"\n":                                            "says no place",
		"begin: 3\n":              "p.yaml:1:8: must be a list",
		"begn: []\n":              "p.yaml:1:1: \"begn\" is unknown",
		"window: 0\nbegin: []\n":  "p.yaml:1:9",
		"hold: much\nbegin: []\n": "p.yaml:1:7",
		"begin: []\n":             "no rules under begin",
		"":                        "holds no rules",
		"\tx":                     "p.yaml",
		"begin:\n  - rule: a\n    when: " + strings.Repeat("(", 500) + "true" + strings.Repeat(")", 500) + "\n    to: device\n": "p.yaml:3:",
		"begin:\n  - rule: a\n    when: '" + strings.Repeat("true || ", 1000) + "true'\n    to: device\n":                       "p.yaml:3:",
	} {
		_, err := Parse("p.yaml", []byte(text))
		if !errors.Is(err, ErrPolicy) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%.80q: %v, want %q", text, err, want)
		}
	}
}

// An expression that would take long is cut off and does not hold.
func TestCostIsBounded(t *testing.T) {
	p := mustParse(t, `
begin:
  - rule: endless
    when: "[0,1,2,3,4,5,6,7,8,9].all(a, [0,1,2,3,4,5,6,7,8,9].all(b, [0,1,2,3,4,5,6,7,8,9].all(c, [0,1,2,3,4,5,6,7,8,9].all(d, [0,1,2,3,4,5,6,7,8,9].all(e, [0,1,2,3,4,5,6,7,8,9].all(f, a+b+c+d+e+f >= 0))))))"
    to: cloud
  - rule: next
    when: "true"
    to: device
`)
	if d := p.Begin(Facts{}); d.Rule != "next" {
		t.Errorf("%+v", d)
	}
}

func TestUnknownFacts(t *testing.T) {
	p := mustParse(t, `
begin:
  - {rule: not, when: "!(device.battery > 0.5)", to: cloud}
  - {rule: or, when: 'device.battery > 0.5 || link.up', to: device}
  - {rule: asks, when: '!("link.up" in known)', to: try_device}
`)
	if d := p.Begin(Facts{"link.up": true}); d.Rule != "or" {
		t.Errorf("%+v", d)
	}
	if d := p.Begin(Facts{}); d.Rule != "asks" {
		t.Errorf("%+v", d)
	}
	if d := p.Begin(Facts{"link.up": false}); d.To != Cooperative || d.Rule != "" || d.Why == "" {
		t.Errorf("%+v", d)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(DefaultText())
	f.Add("begin:\n  - {rule: a, when: 'score < 0.5 && prompt.kind in [\"code\"]', to: cloud}\n")
	f.Fuzz(func(t *testing.T, text string) {
		if p, err := Parse("p", []byte(text)); err == nil {
			p.Begin(Facts{"score": 0.3, "prompt.kind": "code"})
			p.During(Facts{})
		} else if !errors.Is(err, ErrPolicy) {
			t.Error(err)
		}
	})
}
