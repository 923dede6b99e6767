package openai

import (
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/outrider-llm/outrider/edge"
)

func TestPrediction(t *testing.T) {
	f := newFake(t, "x")
	a := serve(t, f, Config{})
	for body, want := range map[string]string{
		`"prediction":{"type":"content","content":"A b"}`:                                                   "A b",
		`"prediction":{"type":"content","content":[{"type":"text","text":"A"},{"type":"text","text":"b"}]}`: "Ab",
		`"prediction":null`: "",
	} {
		a.post("/v1/chat/completions", `{"messages":[{"role":"user","content":"U"}],`+body+`}`)
		if got := f.last.Load().Prediction; got != want {
			t.Errorf("%s: %q", body, got)
		}
	}
	for body, want := range map[string]string{
		`{"type":"tokens","content":"A"}`: "prediction.type",
		`"A"`:                             "prediction",
		`{"type":"content","content":5}`:  "prediction.content",
	} {
		var m map[string]json.RawMessage
		if err := json.Unmarshal([]byte(`{"messages":[{"role":"user","content":"U"}],"prediction":`+body+`}`), &m); err != nil {
			t.Fatal(err)
		}
		o := &object{m: m, err: new(*apiError)}
		o.prediction("prediction")
		w := httptest.NewRecorder()
		if *o.err == nil {
			t.Errorf("%s was taken", body)
			continue
		}
		if (*o.err).write(w); w.Code != 400 || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: %d %s", body, w.Code, w.Body)
		}
	}
	u := usageOf([]*answer{{j: &job{n: 1}, sum: edge.Summary{PromptTokens: 3, Tokens: 5, PredictionAccepted: 4, PredictionRejected: 2}}})
	if u.Details.Accepted != 4 || u.Details.Rejected != 2 || u.TotalTokens != 8 {
		t.Errorf("%+v", u)
	}
}
