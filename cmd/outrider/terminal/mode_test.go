package terminal

import (
	"strings"
	"testing"

	outriderv1 "github.com/outrider-llm/outrider/proto/outrider/v1"
)

// Below an answer stands where it was written, unless that is as always.
func TestAnswerSaysWhereItWasWritten(t *testing.T) {
	for want, r := range map[string]*outriderv1.Routing{
		"on the device: it can":                           {Where: "device", Reason: "it can"},
		"in the cloud: the battery is low":                {Where: "cloud", Reason: "the battery is low"},
		"took over after 42 tokens of the device, 9 kept": {Where: "cooperative", Reason: "unsure", EscalatedAt: 42, Shown: 3, Kept: 6},
	} {
		x := newRig(t)
		x.enter("hello")
		x.got("", token("Once", outriderv1.Fate_FATE_ACCEPTED))
		x.feed(doneMsg{x.m.answer.id, &outriderv1.Summary{Exact: true, TotalUs: 100000, Routing: r}, nil})
		x.want(strings.Join(strings.Fields(x.scrollback()), " "), want)
	}
	if got := routed(&outriderv1.Routing{Where: "cooperative", Reason: "the mode asks for it"}); got != "" {
		t.Errorf("%q", got)
	}
	if got := routed(&outriderv1.Routing{Where: "device", Reason: "\x1b[2Jgone"}); strings.Contains(got, "\x1b") {
		t.Errorf("%q", got)
	}
}

func TestModeCommand(t *testing.T) {
	r := newRig(t)
	for _, c := range [][2]string{{"", "the edge's"}, {"only-on-device", "mode: only_on_device"}, {"AUTO", "mode: auto"}} {
		if got, err := r.m.mode(c[0]); err != nil || !strings.Contains(got, c[1]) {
			t.Errorf("%q: %q %v", c[0], got, err)
		}
	}
	if _, err := r.m.mode("unspecified"); err == nil {
		t.Error("the default is no mode to ask for")
	}
}
