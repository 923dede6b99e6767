// Package drafter holds what sources of proposals share; each source is a package below it.
package drafter

import "github.com/outrider-llm/outrider/speculative"

// Rate is a share of hits that forgets: what a source has learned of how often a kind of guess is right.
type Rate struct{ hits, trials float64 }

const (
	priorWeight = 6    // trials
	decay       = 0.97 // a trial
	highest     = 0.995
)

// Observe counts a trial.
func (r *Rate) Observe(hit bool) {
	r.hits *= decay
	r.trials = r.trials*decay + 1
	if hit {
		r.hits++
	}
}

// Of is the rate, 0 to 0.995, when prior was believed before.
func (r *Rate) Of(prior float64) float64 {
	return min((r.hits+priorWeight*prior)/(r.trials+priorWeight), highest)
}

// Hash is FNV-1a over tokens, mixed once more.
func Hash(tokens []speculative.Token) uint64 {
	h := uint64(14695981039346656037)
	for _, t := range tokens {
		h = (h ^ uint64(uint32(t))) * 1099511628211
		h ^= h >> 29
	}
	return h
}
