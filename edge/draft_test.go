package edge

import (
	"context"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/speculative"
)

// The drafter must always draw its choices from exactly the log and path that it is asked about,
// whatever the model still holds of earlier ones, and run few rows for it.
func TestDrafterFollowsTheLog(t *testing.T) {
	m := newToy(20)
	setup := &backend.Setup{Params: speculative.Params{Seed: 5}, PromptLength: 200}
	c := &Config{}
	c.Cloud = "x"
	if err := c.defaults(); err != nil {
		t.Fatal(err)
	}
	d := newDrafter(t.Context(), m, 1, setup, c)
	done := make(chan struct{})
	go func() { defer close(done); d.run() }()
	rng := rand.New(rand.NewPCG(1, 1))
	some := func() []Token { return prompt(rng.IntN(1000), 1+rng.IntN(3)) }
	log, told, path := prompt(1, 200), 0, []Token{}
	for i := range 250 {
		switch rng.IntN(4) {
		case 0: // what was drafted is confirmed, in part
			n := rng.IntN(len(path) + 1)
			log, path = append(log, path[:n]...), path[n:]
		case 1: // the target says otherwise
			log, path = append(log, some()...), nil
		case 2: // another branch
			path = slices.Concat(path[:rng.IntN(len(path)+1)], some())
		}
		if len(log)+len(path) > 400 {
			path = nil
		}
		if len(log) > 400 {
			break
		}
		if i%50 == 49 {
			m.mu.Lock()
			m.lost++
			m.mu.Unlock()
		}
		d.jobs <- draftJob{ctx: t.Context(), tail: slices.Clone(log[told:]), work: speculative.Work{ID: uint64(i), Path: path}}
		told = len(log)
		r := <-d.results
		full := slices.Concat(log, path)
		if want := m.next(*setup, full); !r.ok || r.id != uint64(i) || r.choice != want {
			t.Fatalf("step %d: %+v, want %+v", i, r, want)
		}
		path = append(slices.Clone(path), r.choice.Token)
	}
	close(d.jobs)
	<-done
	if m.held() != 0 || m.rows > 5*450+400 {
		t.Errorf("%d sequences are left, %d rows were run", m.held(), m.rows)
	}
}

// A draft without memory gets back what this session held, and the job is given back.
func TestDrafterGivesMemoryBack(t *testing.T) {
	m := newToy(0)
	m.info.KVTokens = 100
	c := &Config{Cloud: "x"}
	if err := c.defaults(); err != nil {
		t.Fatal(err)
	}
	d := newDrafter(t.Context(), m, 1, &backend.Setup{PromptLength: 90}, c)
	d.log = prompt(1, 90)
	if r := d.expand(draftJob{ctx: t.Context()}); !r.ok || m.held() != 1 {
		t.Errorf("%+v", r)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // do not pause
	d.log = append(d.log, prompt(2, 20)...)
	full := slices.Clone(d.log)
	if _, err := d.forward(full, 90, 110, 109); err == nil {
		t.Fatal("100 rows held 110 tokens")
	}
	if again, err := d.recover(ctx, backend.ErrNoMemory); again || err != nil || m.held() != 0 {
		t.Errorf("again %v, %v, %d sequences held", again, err, m.held())
	}
}
