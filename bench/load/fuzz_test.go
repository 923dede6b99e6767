package load

import (
	"strings"
	"testing"
)

// FuzzEvents: a stream of server-sent events ends with an error or with what was asked for, whatever it holds.
func FuzzEvents(f *testing.F) {
	f.Add("data: {\"choices\":[{\"finish_reason\":\"length\"}],\"outrider\":{\"tokens\":[{\"id\":1}]}}\n\n: beat\n\ndata: [DONE]\n\n")
	f.Add("data: {\"error\":{\"message\":\"no\"}}\n\n")
	f.Add("data: null\n\ndata: [DONE]\n")
	f.Add("data: {\"choices\":[null]}\r\n\r\ndata: [DONE]")
	f.Fuzz(func(t *testing.T, text string) {
		x := apiClient{c: &APIConfig{Tokens: 1}}
		if err := x.read(t.Context(), strings.NewReader(text)); err == nil && (x.tokens != 1 || x.finish != "length") {
			t.Fatalf("%d tokens, %q", x.tokens, x.finish)
		}
	})
}
