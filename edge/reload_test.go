package edge

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/outrider-llm/outrider/bench/link"
	"github.com/outrider-llm/outrider/cloud"
)

func wait(t *testing.T, what string, ch <-chan struct{}) {
	t.Helper()
	select {
	case <-ch:
	case <-time.After(10 * time.Second):
		t.Fatalf("waited in vain for %s", what)
	}
}

// TestReload: generations under way end with their draft, new ones have the new one; then the old one
// is retired. All say what the target says.
func TestReload(t *testing.T) {
	r := newRig(t, link.Config{RTT: 4 * time.Millisecond}, func(r *rig) { r.target.step = time.Millisecond })
	fresh := newToy(5)
	c := r.config
	c.Draft = fresh
	retired := make(chan struct{})
	var once sync.Once
	req := request(1, 100)
	first, _ := r.generate(req, func(n int) {
		if n < 20 {
			return
		}
		once.Do(func() {
			if err := r.edge.Reload(c, func() { close(retired) }); err != nil {
				t.Error(err)
			}
			second, _ := r.generate(request(2, 60), nil)
			r.identical(request(2, 60), second)
			select {
			case <-retired:
				t.Error("the old draft was retired during a generation")
			default:
			}
		})
	})
	r.identical(req, first)
	wait(t, "the old draft's end", retired)
	third, _ := r.generate(request(3, 20), nil)
	r.identical(request(3, 20), third)
	st, err := r.edge.Status(t.Context())
	if err != nil || st.Draft != fresh.Info().Name {
		t.Error(st, err)
	}
	_ = r.edge.Close() // what is kept for next turns goes, too
	eventually(t, "the new draft's memory to be free", func() bool { return fresh.held() == 0 })
	r.empty()
}

// TestReloadMovesToAnotherCloud: a generation resumes at the new address when its stream breaks.
func TestReloadMovesToAnotherCloud(t *testing.T) {
	r := newRig(t, link.Config{}, func(r *rig) { r.target.step = time.Millisecond })
	other := &testCloud{t: t, config: cloud.Config{Targets: []cloud.Target{{Name: "big", Model: newToy(0)}}}}
	other.start()
	t.Cleanup(other.kill)
	c := r.config
	c.Cloud = other.addr
	var once sync.Once
	req := request(1, 120)
	got, sum := r.generate(req, func(n int) {
		if n < 20 {
			return
		}
		once.Do(func() {
			if err := r.edge.Reload(c, nil); err != nil {
				t.Error(err)
			}
			go r.cloud.kill()
		})
	})
	r.identical(req, got)
	if sum.Resumes == 0 {
		t.Error("it did not resume")
	}
}

// TestReloadRefused: what cannot work leaves the old configuration in force.
func TestReloadRefused(t *testing.T) {
	r := newRig(t, link.Config{})
	foreign := newToy(0)
	foreign.info.Vocabulary = "other"
	never := func() { t.Error("retired") }
	for _, bad := range []func(*Config){
		func(c *Config) { c.Draft = foreign },
		func(c *Config) { c.Draft, c.Fallback = nil, FallbackDraft },
		func(c *Config) { c.Cloud = "" },
	} {
		c := r.config
		bad(&c)
		if r.edge.Reload(c, never) == nil {
			t.Error("it was taken")
		}
	}
	got, _ := r.generate(request(1, 20), nil)
	r.identical(request(1, 20), got)
	_ = r.edge.Close()
	if err := r.edge.Reload(r.config, never); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
}

// TestReloadUnderLoad: twenty generations at a time while the draft changes again and again.
func TestReloadUnderLoad(t *testing.T) {
	r := newRig(t, link.Config{})
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			for j := range 3 {
				req := request(100*i+j, 40)
				c, _ := r.generate(req, nil)
				r.identical(req, c)
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	var begun, ended atomic.Int32
	drafts := []*toy{newToy(3), newToy(20)}
	for busy := true; busy; {
		c := r.config
		c.Draft = drafts[begun.Load()%2] // an old one comes back while generations still have it
		if err := r.edge.Reload(c, func() { ended.Add(1) }); err != nil {
			t.Fatal(err)
		}
		begun.Add(1)
		select {
		case <-done:
			busy = false
		case <-time.After(5 * time.Millisecond):
		}
	}
	// The last ones may have begun after the last reload, whose edge then keeps their rows.
	if err := r.edge.Reload(r.config, func() { ended.Add(1) }); err != nil {
		t.Fatal(err)
	}
	begun.Add(1)
	eventually(t, "the old configurations' ends", func() bool { return ended.Load() == begun.Load() })
	eventually(t, "all memory to be free", func() bool { return drafts[0].held()+drafts[1].held()+r.draft.held() == 0 })
	_ = r.edge.Close()
}
