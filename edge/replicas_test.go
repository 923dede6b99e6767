package edge

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/outrider-llm/outrider/bench/link"
	"github.com/outrider-llm/outrider/cloud"
)

// threeClouds serves one target from three replicas; the rig's own cloud is the first.
func threeClouds(t *testing.T) (*rig, *Edge, []*testCloud) {
	r := newRig(t, link.Config{}, func(r *rig) {
		r.target.step = 2 * time.Millisecond
		r.target.info.Sequences = 256
		r.draft.info.Sequences = 256
	})
	clouds := []*testCloud{r.cloud}
	list := []string{r.cloud.addr}
	for range 2 {
		c := &testCloud{t: t, config: cloud.Config{IdleTTL: 300 * time.Millisecond, Targets: []cloud.Target{{Name: "big", Model: newToyLike(r.target)}}}}
		c.start()
		t.Cleanup(c.kill)
		clouds, list = append(clouds, c), append(list, c.addr)
	}
	config := r.config
	config.Cloud = strings.Join(list, ",")
	e, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	return r, e, clouds
}

func newToyLike(m *toy) *toy {
	o := newToy(m.misses)
	o.info, o.step = m.info, m.step
	return o
}

// A rolling restart of three replicas under twenty sessions (make verify: 200), each drained, ended and begun anew: every answer is
// the target's, nothing is lost or doubled.
func TestRollingRestart(t *testing.T) {
	r, e, clouds := threeClouds(t)
	var wg sync.WaitGroup
	stop := make(chan struct{})
	var mu sync.Mutex
	answers, resumes, sessions := 0, 0, 20
	if os.Getenv("OUTRIDER_VERIFY") != "" {
		sessions = 200
	}
	for i := range sessions {
		wg.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				req := request(100*i+n, 400)
				c := &collect{t: t}
				sum, err := e.Generate(t.Context(), req, c.emit)
				if want := r.target.oracle(req.Params, req.Tokens, len(req.Tokens)+400); err != nil || !slices.Equal(c.tokens, want) || !sum.Exact {
					t.Errorf("session %d: %v exact %v\ngot  %v\nwant %v", i, err, sum.Exact, c.tokens, want)
					return
				}
				mu.Lock()
				answers, resumes = answers+1, resumes+sum.Resumes
				mu.Unlock()
			}
		})
	}
	for _, c := range clouds {
		time.Sleep(150 * time.Millisecond)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		c.server.Drain(ctx)
		cancel()
		c.kill()
		time.Sleep(50 * time.Millisecond)
		c.start()
	}
	time.Sleep(150 * time.Millisecond)
	close(stop)
	wg.Wait()
	t.Logf("%d answers, %d resumes", answers, resumes)
	if answers < sessions || resumes == 0 {
		t.Errorf("%d answers and %d resumes: the restarts were not felt", answers, resumes)
	}
}

// A replica that is full sends new sessions to another.
func TestFullReplica(t *testing.T) {
	full := &testCloud{t: t, config: cloud.Config{MaxSessions: 1, Targets: []cloud.Target{{Name: "big", Model: newToy(0)}}}}
	full.start()
	t.Cleanup(full.kill)
	free := &testCloud{t: t, config: cloud.Config{Targets: []cloud.Target{{Name: "big", Model: newToy(0)}}}}
	free.start()
	t.Cleanup(free.kill)
	e, err := New(Config{Cloud: fmt.Sprintf("%s, %s", full.addr, free.addr), Vocabulary: "toy", LinkTimeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() {
			req := request(i, 40)
			c := &collect{t: t}
			if _, err := e.Generate(t.Context(), req, c.emit); err != nil || len(c.tokens) == 0 {
				t.Errorf("session %d: %v", i, err)
			}
		})
	}
	wg.Wait()
}

func TestAddresses(t *testing.T) {
	if got := Addresses("a:1, b:2"); !slices.Equal(got, []string{"a:1", "b:2"}) {
		t.Error(got)
	}
	for cloud, want := range map[string][2]bool{"a:1,b:2": {true, true}, "cloud:1": {false, true}, "10.0.0.1:1": {false, false}, "localhost:1": {false, false}} {
		if several(cloud, false) != want[0] || several(cloud, true) != want[1] {
			t.Errorf("%s: %v", cloud, want)
		}
	}
}
