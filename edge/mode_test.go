package edge

import (
	"slices"
	"testing"
	"time"

	"github.com/outrider-llm/outrider/bench/link"
	"github.com/outrider-llm/outrider/speculative"
)

func TestParseMode(t *testing.T) {
	for _, w := range Modes() {
		if m, err := ParseMode(w); err != nil || m.String() != w {
			t.Errorf("%s: %v %v", w, m, err)
		}
	}
	if m, err := ParseMode("only-on-device"); err != nil || m != ModeOnlyOnDevice {
		t.Errorf("with hyphens: %v %v", m, err)
	}
	_, err := ParseMode("edge")
	wantError(t, err, ErrRequest)
	for _, name := range ModelNames() {
		if _, ok := ModeOfModel(name); !ok {
			t.Errorf("%s stands for nothing", name)
		}
	}
}

// Each mode is answered where it says, by whom it says.
func TestModes(t *testing.T) {
	r := newRig(t, link.Config{RTT: 5 * time.Millisecond})
	for _, c := range []struct {
		mode    Mode
		model   string
		where   string
		drafts  bool
		byDraft bool
	}{
		{ModeDefault, "", Cooperative, true, false},
		{ModeDefault, "outrider", Cooperative, true, false},
		{ModeCooperative, "", Cooperative, true, false},
		{ModeOnlyInCloud, "", InCloud, false, false},
		{ModeDefault, "outrider:cloud", InCloud, false, false},
		{ModePreferInCloud, "", InCloud, false, false},
		{ModeOnlyOnDevice, "", OnDevice, true, true},
		{ModeDefault, "outrider:edge", OnDevice, true, true},
		{ModeOnlyInCloud, "outrider:edge", InCloud, false, false}, // the request's field counts more
		{ModePreferOnDevice, "", OnDevice, true, true},
	} {
		req := request(7, 40)
		req.Mode, req.Model = c.mode, c.model
		before, opened := r.draft.drafted(), r.target.ran()
		got, sum := r.generate(req, nil)
		if ro := sum.Routing; ro.Where != c.where || ro.Reason == "" || ro.Mode == ModeDefault || ro.EscalatedAt != 0 {
			t.Errorf("%v %s: %+v, want where %s", c.mode, c.model, ro, c.where)
		}
		if drafts := r.draft.drafted() > before; drafts != c.drafts {
			t.Errorf("%v %s: the draft worked: %v", c.mode, c.model, drafts)
		}
		if !c.byDraft {
			r.identical(req, got)
			continue
		}
		if want := r.draft.oracle(req.Params, req.Tokens, 50); !slices.Equal(got.tokens, want) {
			t.Errorf("%v %s: got %v, the draft alone says %v", c.mode, c.model, got.tokens, want)
		}
		if sum.Exact || sum.Unverified != sum.Tokens || sum.Uplink+sum.Opening > 0 || r.target.ran() != opened {
			t.Errorf("%v %s: %+v; the target ran %d", c.mode, c.model, sum, r.target.ran()-opened)
		}
	}
	r.empty()
}

// The target alone means it: no fallback lets the draft answer instead.
func TestOnlyInCloudNeverDrafts(t *testing.T) {
	r := newRig(t, link.Config{}, func(r *rig) {
		r.config.Fallback, r.config.FallbackAfter = FallbackDraft, 20*time.Millisecond
	})
	c := &collect{t: t}
	req := request(5, 20)
	req.Mode, req.Fallback = ModeOnlyInCloud, FallbackDraft
	_, err := r.edge.Generate(t.Context(), req, c.emit)
	wantError(t, err, ErrRequest)
	r.cloud.kill()
	req.Fallback = FallbackDefault
	_, err = r.edge.Generate(t.Context(), req, c.emit)
	wantError(t, err, ErrNoCloud)
}

func (m *toy) drafted() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.rows
}

func (m *toy) ran() int { return m.drafted() }

// What may not leave the device moves no byte on a link that is there.
func TestOnlyOnDeviceSendsNothing(t *testing.T) {
	r := newRig(t, link.Config{}, func(r *rig) { r.config.Mode = ModeOnlyOnDevice })
	first := request(1, 10)
	first.Mode = ModeCooperative
	r.generate(first, nil)
	var up, down int64
	eventually(t, "the link to be quiet", func() bool {
		time.Sleep(100 * time.Millisecond)
		u, d := r.link.Bytes()
		quiet := u == up && d == down
		up, down = u, d
		return quiet
	})
	if _, sum := r.generate(request(3, 60), nil); sum.Routing.Where != OnDevice || sum.Tokens == 0 {
		t.Errorf("%+v", sum)
	}
	c := &collect{t: t}
	long := request(3, 8)
	long.Tokens = prompt(1, 600)
	_, err := r.edge.Generate(t.Context(), long, c.emit)
	wantError(t, err, ErrDevice)
	if u, d := r.link.Bytes(); up == 0 || u != up || d != down {
		t.Errorf("%d bytes went up, %d came down", u-up, d-down)
	}
	none := newRig(t, link.Config{}, func(r *rig) { r.draft = nil })
	req := request(3, 4)
	req.Mode = ModeOnlyOnDevice
	_, err = none.edge.Generate(t.Context(), req, c.emit)
	wantError(t, err, ErrDevice)
}

// With no cloud in reach the draft answers what should rather go there.
func TestPreferInCloudWithoutCloud(t *testing.T) {
	r := newRig(t, link.Config{}, func(r *rig) { r.config.FallbackAfter = 50 * time.Millisecond })
	r.cloud.kill()
	req := request(5, 20)
	req.Mode = ModePreferInCloud
	got, sum := r.generate(req, nil)
	if want := r.draft.oracle(req.Params, req.Tokens, 30); !slices.Equal(got.tokens, want) || sum.Routing.Where != OnDevice {
		t.Errorf("%v, want %v; %+v", got.tokens, want, sum.Routing)
	}
}

// A draft that cannot go on hands over to the cloud: what was given out stays, and the target goes on
// from there.
func TestDraftHandsOver(t *testing.T) {
	r := newRig(t, link.Config{RTT: 5 * time.Millisecond}, func(r *rig) { r.draft.info.ContextLength = 40 })
	req := request(11, 60)
	req.Mode = ModePreferOnDevice
	got, sum := r.generate(req, nil)
	begun := r.draft.oracle(req.Params, req.Tokens, 40)
	if len(begun) != 30 {
		t.Fatalf("the draft ends by itself after %d", len(begun))
	}
	log := append(slices.Clone(req.Tokens), begun...)
	want := append(begun, r.target.follow(req.Params, len(req.Tokens), log, 70)...)
	if !slices.Equal(got.tokens, want) {
		t.Errorf("got  %v\nwant %v", got.tokens, want)
	}
	if ro := sum.Routing; ro.Where != Cooperative || ro.EscalatedAt != 30 || ro.Shown != 30 || sum.Exact || sum.Unverified != 30 {
		t.Errorf("%+v of %+v", ro, sum)
	}
	r.empty()
}

// follow is what a toy says after a log.
func (m *toy) follow(p speculative.Params, n int, log []Token, maxLength int) []Token {
	had := len(log)
	for len(log) < maxLength {
		log = append(log, m.next(setupOf(p, log[:n]), log).Token)
		if log[len(log)-1] == 0 {
			break
		}
	}
	return log[had:]
}
