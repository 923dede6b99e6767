package load

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

// SoakConfig is a mixed load that goes on for long. Zero values mean the defaults.
type SoakConfig struct {
	URL       string // base URL of an edge's API
	Processes []Watched
	For       time.Duration // default 30 min
	Clients   int           // that ask one thing after the other; default 2
	Pause     time.Duration // of a client between its requests, on average; default 3 s
	Every     time.Duration // a sample; default 5 s
	Tokens    int           // of an answer; default 24
	Harm      func(n int)   // is called every HarmEvery: cuts the link, for instance
	HarmEvery time.Duration // default 20 s
	Seed      uint64
	Progress  func(string) // hears a line now and then
}

// Watched is a process whose memory, goroutines and descriptors are sampled.
type Watched struct {
	Name  string
	Admin string     // base URL of its admin port, or
	PID   func() int // its process id, 0 for none
}

func (c *SoakConfig) defaults() error {
	if c.URL == "" {
		return errors.New("load: no URL of an API given")
	}
	set(&c.Clients, 2)
	set(&c.Tokens, 24)
	for _, v := range []struct {
		d   *time.Duration
		def time.Duration
	}{{&c.For, 30 * time.Minute}, {&c.Pause, 3 * time.Second}, {&c.Every, 5 * time.Second}, {&c.HarmEvery, 20 * time.Second}} {
		if *v.d <= 0 {
			*v.d = v.def
		}
	}
	if c.Harm == nil {
		c.Harm = func(int) {}
	}
	if c.Progress == nil {
		c.Progress = func(string) {}
	}
	return nil
}

// Sample of all processes at a time.
type Sample struct {
	Seconds float64           `json:"s"`
	Of      map[string]Figure `json:"of"`
}

// Figure is a process's part of a sample; goroutines are 0 where it tells none.
type Figure struct {
	MB          float64 `json:"rss_mb"`
	Goroutines  float64 `json:"goroutines,omitempty"`
	Descriptors float64 `json:"descriptors"`
}

// RunSoak first learns what each request is answered while nothing is wrong, then asks them again and again in mixed
// order, with clients that leave and harm done, and compares. The error says that nothing could be measured.
func RunSoak(ctx context.Context, c SoakConfig) (SoakReport, error) {
	if err := c.defaults(); err != nil {
		return SoakReport{}, err
	}
	s := &soak{c: &c, api: APIConfig{URL: c.URL, Tokens: c.Tokens}, said: map[string]answer{}, r: SoakReport{Asked: map[string]int{}, Wrong: map[string]int{}}}
	if err := s.api.defaults(); err != nil {
		return s.r, err
	}
	if err := s.learn(ctx); err != nil {
		return s.r, err
	}
	begin := time.Now()
	load, end := context.WithTimeout(ctx, c.For)
	defer end()
	var wg sync.WaitGroup
	for i := range c.Clients {
		wg.Go(func() { s.client(load, i) })
	}
	wg.Go(func() {
		for n := 0; sleep(load, c.HarmEvery) == nil; n++ {
			c.Harm(n)
			s.mu.Lock()
			s.r.Harms++
			s.mu.Unlock()
		}
	})
	err := s.watch(load, begin)
	end()
	wg.Wait()
	if err == nil {
		err = ctx.Err()
	}
	s.r.Minutes = time.Since(begin).Minutes()
	s.r.judge()
	return s.r, err
}

// soak is one run. mu guards r while clients run.
type soak struct {
	c    *SoakConfig
	api  APIConfig
	said map[string]answer

	mu sync.Mutex
	r  SoakReport
}

// watch samples until the load ends.
func (s *soak) watch(ctx context.Context, begin time.Time) error {
	watchers := make([]*watcher, len(s.c.Processes))
	for i, p := range s.c.Processes {
		var err error
		if watchers[i], err = watch(ctx, p.Admin); err != nil {
			return err
		}
	}
	for last := 0; ; {
		now := Sample{time.Since(begin).Seconds(), map[string]Figure{}}
		for i, p := range s.c.Processes {
			if f, err := p.read(ctx, watchers[i]); err == nil {
				now.Of[p.Name] = f
			}
		}
		s.mu.Lock()
		if len(now.Of) == len(s.c.Processes) {
			s.r.Samples = append(s.r.Samples, now)
		}
		if m := int(now.Seconds / 60); m > last {
			last = m
			s.c.Progress(fmt.Sprintf("minute %d: %s", m, s.r.counts()))
		}
		s.mu.Unlock()
		if sleep(ctx, s.c.Every) != nil {
			return nil //nolint:nilerr // the time is up, as it was to be
		}
	}
}

// read takes a figure now; w is of the process's admin port.
func (p Watched) read(ctx context.Context, w *watcher) (Figure, error) {
	if p.Admin != "" {
		x, err := w.read(ctx)
		return Figure{x.rss / 1e6, x.goroutines, x.descriptors}, err
	}
	f, err := FootprintOf(p.PID())
	return Figure{MB: f.RSS / 1e6, Descriptors: float64(f.Descriptors)}, err
}

// Read takes a figure now.
func (p Watched) Read(ctx context.Context) (Figure, error) {
	w, err := watch(ctx, p.Admin)
	if err != nil {
		return Figure{}, err
	}
	return p.read(ctx, w)
}

// client asks until the load ends.
func (s *soak) client(ctx context.Context, i int) {
	rng := rand.New(rand.NewPCG(s.c.Seed, uint64(i)))
	for ctx.Err() == nil {
		k := soakKinds[rng.IntN(len(soakKinds))]
		s.ask(ctx, rng, k)
		if sleep(ctx, time.Duration(rng.Int64N(2*int64(s.c.Pause)))) != nil {
			return
		}
	}
}
