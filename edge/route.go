package edge

import (
	"cmp"

	"github.com/outrider-llm/outrider/tokenizer"
)

// route is where a request begins.
type route struct {
	Routing
	judge *judgement // nil: nothing is judged
	trial bool       // the device begins, the cloud may go on
	hold  int        // tokens of the device that are held back until the answer is over or the cloud takes over; negative: all
}

// route decides where a request begins, before anything of it goes up, and shapes the request for it.
func (e *Edge) route(r *Request) (*route, error) {
	r.Mode = e.modeOf(r)
	if _, ok := ModeOfModel(r.Model); ok { // a name that stands for a mode is the default target
		r.Model = ""
	}
	rt := &route{Routing: Routing{Mode: r.Mode, Where: Cooperative}}
	if r.NoDraft {
		switch r.Mode {
		case ModeOnlyOnDevice, ModePreferOnDevice:
			return nil, requestError("no_draft and mode %s exclude each other: leave one of them out", r.Mode)
		case ModeAuto:
			rt.Where, rt.Reason = InCloud, "the request asks for no draft"
			return rt, nil
		}
	}
	switch r.Mode {
	case ModeOnlyOnDevice:
		if e.c.Draft == nil {
			return nil, deviceError("this edge has no draft model: name one (edge.draft), or use another mode")
		}
		rt.Where, rt.Reason = OnDevice, cmp.Or(r.why, "the mode asks for it")
	case ModeAuto:
		if err := rt.auto(e, r); err != nil {
			return nil, err
		}
	case ModePreferOnDevice:
		rt.preferDevice(e, r)
	case ModeOnlyInCloud:
		switch {
		case r.Fallback == FallbackDraft:
			return nil, requestError("fallback draft and mode %s exclude each other: use mode %s", r.Mode, ModePreferInCloud)
		case r.Fallback == FallbackDefault && e.c.Fallback == FallbackDraft:
			r.Fallback = FallbackFail // the edge's setting is for answers that the device may write
		}
		rt.Where, rt.Reason, r.NoDraft = InCloud, "the mode asks for it", true
	case ModePreferInCloud:
		rt.Where, rt.Reason, r.NoDraft = InCloud, "the mode prefers it", true
		rt.orDevice(e, r)
	default:
		rt.Reason = "the mode asks for it"
		if r.NoDraft {
			rt.Where, rt.Reason = InCloud, "the request asks for no draft"
		} else if e.c.Draft == nil {
			rt.Where, rt.Reason = InCloud, "this edge has no draft model"
		}
	}
	if rt.judge == nil && e.c.Record != nil && rt.Where == Cooperative {
		rt.judge = e.judgement(r, e.c.Router.Policy().Window)
	}
	return rt, nil
}

// modeOf is the mode in force: that of the request, of its model's name, or of the edge.
func (e *Edge) modeOf(r *Request) Mode {
	named, _ := ModeOfModel(r.Model)
	return cmp.Or(r.Mode, named, e.c.Mode)
}

// preferDevice begins on the device where there is one.
func (rt *route) preferDevice(e *Edge, r *Request) {
	if e.c.Draft == nil {
		rt.Where, rt.Reason = InCloud, "this edge has no draft model"
		return
	}
	rt.Where, rt.Reason, rt.trial = OnDevice, "the mode prefers it", true
	rt.orDevice(e, r)
}

// orDevice lets the draft answer with no cloud in reach, unless the request says otherwise.
func (rt *route) orDevice(e *Edge, r *Request) {
	if r.Fallback == FallbackDefault && e.c.Draft != nil {
		r.Fallback = FallbackDraft
	}
}

// deviceVocabulary is what a request's tokens mean where it begins. On the device nobody is asked: it is the
// draft's own, or, where the cloud may go on, what is known of the target's.
func (e *Edge) deviceVocabulary(r *Request, rt *route) *vocabulary {
	if rt.trial && e.c.Learn {
		model := r.Model
		if model == "" {
			model = e.c.Model
		}
		if v := e.learner.of(model); v != nil && v.draft != nil {
			return v
		}
	}
	return e.c.given()
}

// DeviceTokenizer says whether requests of a mode for a model begin on the device without asking anybody,
// and if so by which tokenizer they are read there; nil: there is none.
func (e *Edge) DeviceTokenizer(m Mode, model string) (*tokenizer.Tokenizer, bool) {
	e = e.current()
	if m == ModeDefault {
		m = e.c.Mode
	}
	if e.c.Draft == nil || m != ModeOnlyOnDevice && m != ModePreferOnDevice {
		return nil, false
	}
	if _, ok := ModeOfModel(model); ok {
		model = ""
	}
	return e.deviceVocabulary(&Request{Model: model}, &route{trial: m == ModePreferOnDevice}).tok, true
}
