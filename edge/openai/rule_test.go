package openai

import (
	"strings"
	"testing"
)

func TestRuleOfRequest(t *testing.T) {
	for in, want := range map[string]string{
		`{}`:                                 "",
		`{"rule":"coupled"}`:                 "coupled",
		`{"rule":"rejection"}`:               "rejection",
		`{"rule":"lenient"}`:                 "lenient:threshold=0.3",
		`{"rule":"lenient","threshold":0.5}`: "lenient:threshold=0.5",
		`{"rule":"lenient:top_k=4"}`:         "lenient:top_k=4",
		`{"rule":"strict"}`:                  "! rule \"strict\" is unknown: use coupled, rejection",
		`{"threshold":0.5}`:                  "! belongs to the rule lenient",
		`{"rule":"rejection","threshold":1}`: "! belongs to the rule lenient",
		`{"rule":"lenient","threshold":2}`:   "! threshold",
		`{"rule":"lenient","threshold":0}`:   "! above 0",
		`{"rule":7}`:                         "! rule",
	} {
		o, e := parseBody([]byte(`{"outrider":` + in + `}`))
		if e != nil {
			t.Fatal(e)
		}
		r := o.sub("outrider").rule()
		text, fails := strings.CutPrefix(want, "! ")
		switch e := *o.err; {
		case fails && (e == nil || !strings.Contains(e.Message, text)):
			t.Errorf("%s: %+v, want %q", in, e, text)
		case !fails && (e != nil || r.String() != want):
			t.Errorf("%s: %s %v, want %q", in, r, e, want)
		}
	}
}
