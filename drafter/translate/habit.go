package translate

import "sync"

// habit remembers of the target's tokens how often the draft's next token changed them: " hel" may
// become " hello". A token that usually stays is proposed at once, which saves a step of the draft
// after each correction; for the others the next token is drafted first.
type habit struct {
	mu    sync.Mutex
	of    []stay
	all   stay
	asked int
}

// stay counts trials; those of a token fade.
type stay struct{ held, changed float32 }

const (
	mayChange = 0.1 // tokens that change more often are held
	habitBase = 4   // weight of all tokens' habit in each one's, in trials
	habitFade = 0.99
	habitAsk  = 16 // each so many are held all the same, to learn
)

func newHabit(vocabulary int) *habit {
	return &habit{of: make([]stay, vocabulary), all: stay{2, 1}}
}

func (h *habit) stays(k Token) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.asked++; h.asked%habitAsk == 0 {
		return false
	}
	s := h.of[k]
	return s.changed+habitBase*h.all.changed/h.all.held <= mayChange*(s.held+habitBase)
}

func (h *habit) learn(k Token, stayed bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	changed := float32(1)
	if stayed {
		changed = 0
	}
	s := &h.of[k]
	s.held, s.changed = s.held*habitFade+1, s.changed*habitFade+changed
	h.all.held, h.all.changed = h.all.held+1, h.all.changed+changed
}

// total of the trials, the two that it began with left out.
func (h *habit) total() (held, changed int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return int(h.all.held) - 2, int(h.all.changed) - 1
}
