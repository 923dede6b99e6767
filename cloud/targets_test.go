package cloud

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	outriderv1 "github.com/outrider-llm/outrider/proto/outrider/v1"
)

func (m *toy) passes() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.forwards
}

// slowToy takes a while for each step, so that a session can be met in the middle.
func slowToy() *toy {
	m := newToy()
	m.step = 2 * time.Millisecond
	return m
}

// TestReplacedTarget: sessions stay with the old model, over broken streams too, until they end; new
// ones meet the new model.
func TestReplacedTarget(t *testing.T) {
	old, fresh := slowToy(), newToy()
	r := start(t, old, Config{})
	var replace sync.Once
	retired := make(chan struct{})
	cut, swap := 0, func() {
		err := r.SetTargets([]Target{{Name: "toy", Model: fresh}})
		if err != nil {
			t.Error(err)
		}
	}
	r.mu.Lock() // the rig's target has no Retired
	r.targets[0].loop.target.Retired = func() { close(retired) }
	r.mu.Unlock()
	id := longSession(1, 8, 60)
	o := open(id, promptOf(id, 8), 60)
	n := newNaive(t, o)
	ctx, cancel := context.WithCancel(t.Context())
	n.onToken = func(l int) {
		if l < 20 {
			return
		}
		replace.Do(swap)
		if cut++; cut == 5 {
			cancel()
		}
	}
	if err := n.run(ctx, r.c); err == nil {
		t.Fatal("the stream was not cut")
	}
	n.onToken = nil
	select {
	case <-retired:
		t.Fatal("the model was retired while a broken session was remembered")
	default:
	}
	before := fresh.passes()
	n.open.Stream = 2
	if err := n.run(t.Context(), r.c); err != nil {
		t.Fatal(err)
	}
	n.check()
	if fresh.passes() != before {
		t.Error("the resumed session met the new model")
	}
	select {
	case <-retired:
	case <-time.After(10 * time.Second):
		t.Fatal("the old model was not retired after its last session")
	}
	was := old.passes()
	n = newNaive(t, open(2, promptOf(2, 8), 30))
	if err := n.run(t.Context(), r.c); err != nil {
		t.Fatal(err)
	}
	n.check()
	if fresh.passes() == before || old.passes() != was {
		t.Error("a new session met the old model")
	}
}

// TestRemovedTarget: it ends when its sessions have, and is unknown at once to new ones.
func TestRemovedTarget(t *testing.T) {
	m := slowToy()
	r := start(t, m, Config{})
	retired := make(chan struct{})
	with := []Target{{Name: "toy", Model: m}, {Name: "b", Model: newToy(), Retired: func() { close(retired) }}}
	r.mu.RLock()
	with[0] = r.targets[0].Target
	r.mu.RUnlock()
	if err := r.SetTargets(with); err != nil {
		t.Fatal(err)
	}
	id := longSession(1, 8, 40)
	o := open(id, promptOf(id, 8), 40)
	o.Model = "b"
	n := newNaive(t, o)
	var once sync.Once
	n.onToken = func(int) {
		once.Do(func() {
			if err := r.SetTargets(with[:1]); err != nil {
				t.Error(err)
			}
			other := open(9, promptOf(9, 4), 20)
			other.Model = "b"
			if err := newNaive(t, other).run(t.Context(), r.c); status.Code(err) != codes.NotFound {
				t.Errorf("a new session of a removed target: %v", err)
			}
		})
	}
	if err := n.run(t.Context(), r.c); err != nil {
		t.Fatal(err)
	}
	n.check()
	select {
	case <-retired:
	case <-time.After(10 * time.Second):
		t.Fatal("it was not retired")
	}
}

// TestPendingTargets: a target that is being loaded is listed and asks for patience; one that failed
// says why; neither makes the others unready.
func TestPendingTargets(t *testing.T) {
	r := start(t, newToy(), Config{})
	loading := Target{Name: "big", Loading: func() float32 { return 0.42 }}
	failed := Target{Name: "bad", Failed: errors.New("the file is truncated")}
	r.mu.RLock()
	toy := r.targets[0].Target
	r.mu.RUnlock()
	if err := r.SetTargets([]Target{loading, failed}); err != nil {
		t.Fatal(err)
	}
	if err := r.Ready(); err == nil || !strings.Contains(err.Error(), "target big is being loaded (42 %); target bad could not be loaded: the file is truncated") {
		t.Error(err)
	}
	if err := r.SetTargets([]Target{loading, failed, toy}); err != nil {
		t.Fatal(err)
	}
	if err := r.Ready(); err != nil {
		t.Error(err)
	}
	l, err := r.c.ListModels(t.Context(), &outriderv1.ListModelsRequest{})
	if err != nil || len(l.GetModels()) != 3 {
		t.Fatal(l, err)
	}
	m := l.GetModels()
	if m[0].GetState() != outriderv1.TargetState_TARGET_STATE_LOADING || m[0].GetLoadPercent() != 42 ||
		m[1].GetState() != outriderv1.TargetState_TARGET_STATE_FAILED || m[1].GetProblem() == "" ||
		m[2].GetState() != outriderv1.TargetState_TARGET_STATE_SERVING || m[2].GetVocabulary() != "toy-50" {
		t.Error(m)
	}
	o := open(1, promptOf(1, 4), 20)
	for model, want := range map[string]codes.Code{"": codes.Unavailable, "big": codes.Unavailable, "bad": codes.NotFound, "toy": codes.OK} {
		o.Model = model
		err := newNaive(t, o).run(t.Context(), r.c)
		if status.Code(err) != want || (want == codes.Unavailable) != (retryInfo(err) > 0) {
			t.Errorf("model %q: %v, want %s", model, err, want)
		}
		_, err = r.c.DescribeModel(t.Context(), &outriderv1.DescribeModelRequest{Model: model})
		if status.Code(err) != want {
			t.Errorf("description of %q: %v, want %s", model, err, want)
		}
		o = open(2, promptOf(2, 4), 20)
	}
	for _, bad := range [][]Target{nil, {{Name: "x"}}, {toy, toy}, {{Model: toy.Model}}} {
		if r.SetTargets(bad) == nil {
			t.Errorf("%v was taken", bad)
		}
	}
}

// TestTargetsComeAndGoUnderLoad: many sessions, and a target that is replaced again and again.
func TestTargetsComeAndGoUnderLoad(t *testing.T) {
	m := newToy()
	r := start(t, m, Config{})
	r.mu.RLock()
	first := r.targets[0].Target
	r.mu.RUnlock()
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			for j := range 4 {
				n := newNaive(t, open(uint64(100*i+j+1), promptOf(uint64(i), 6), 40))
				err := n.run(t.Context(), r.c)
				for s := uint32(2); status.Code(err) == codes.Unavailable; s++ { // as an edge does
					n.open.Stream = s
					err = n.run(t.Context(), r.c)
				}
				if err != nil {
					t.Error(err)
				}
				n.check()
			}
		})
	}
	var retired sync.WaitGroup
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	for busy := true; busy; {
		retired.Add(1)
		if err := r.SetTargets([]Target{{Name: "toy", Model: newToy(), Retired: retired.Done}}); err != nil {
			t.Fatal(err)
		}
		select {
		case <-done:
			busy = false
		case <-time.After(3 * time.Millisecond):
		}
	}
	if err := r.SetTargets([]Target{first}); err != nil {
		t.Fatal(err)
	}
	retired.Wait()
}
