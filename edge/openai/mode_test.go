package openai

import (
	"net/http"
	"strings"
	"testing"

	"github.com/outrider-llm/outrider/edge"
)

// The body's field counts more than the header, the header more than the model's name.
func TestModeOfRequest(t *testing.T) {
	f := &fake{}
	s := newServer(f, Config{})
	for _, c := range []struct {
		model, header, field string
		want                 edge.Mode
	}{
		{"", "", "", edge.ModeDefault},
		{"big", "", "", edge.ModeDefault},
		{"outrider", "", "", edge.ModeDefault},
		{"outrider:auto", "", "", edge.ModeAuto},
		{"outrider:edge", "prefer-in-cloud", "", edge.ModePreferInCloud},
		{"outrider:edge", "auto", "only_in_cloud", edge.ModeOnlyInCloud},
		{"", "only_on_device", "", edge.ModeOnlyOnDevice},
	} {
		o, e := parseBody([]byte(`{"model":"` + c.model + `","outrider":{"mode":"` + c.field + `"}}`))
		if e != nil {
			t.Fatal(e)
		}
		r, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, "/", http.NoBody)
		r.Header.Set(ModeHeader, c.header)
		j := &job{}
		s.common(withMode(r).Context(), o, j)
		if *o.err != nil || j.r.Mode != c.want {
			t.Errorf("%+v: %v %v", c, j.r.Mode, *o.err)
		}
	}
	o, _ := parseBody([]byte(`{"outrider":{"mode":"edge"}}`))
	j := &job{}
	s.common(t.Context(), o, j)
	if e := *o.err; e == nil || *e.Param != "outrider.mode" || !strings.Contains(e.Message, "only_on_device") {
		t.Errorf("%+v", e)
	}
}

// With no cloud heard of, an edge with a draft still lists the names by which the device answers.
func TestModelsWithoutCloud(t *testing.T) {
	f := &fake{t: t, status: edge.Status{Draft: "small", Note: "no cloud in reach"}}
	a := serve(t, f, Config{})
	if _, body := a.call("GET", "/v1/models", ""); !strings.Contains(body, `"id":"outrider:edge"`) {
		t.Error(body)
	}
	if resp, body := a.call("GET", "/v1/models/outrider:edge", ""); resp.StatusCode != 200 || !strings.Contains(body, `"id":"outrider:edge"`) {
		t.Error(body)
	}
	f.status.Draft = ""
	b := serve(t, f, Config{})
	if resp, body := b.call("GET", "/v1/models", ""); resp.StatusCode != 503 {
		t.Error(body)
	}
}
