package main

import (
	"cmp"
	"slices"
	"strings"
)

// near returns the candidates that a mistyped name may have meant, the likeliest first, at most three.
func near(name string, candidates []string) []string {
	type match struct {
		name string
		far  int
	}
	var found []match
	lower := strings.ToLower(name)
	for _, c := range candidates {
		far := distance(lower, strings.ToLower(c))
		if inside := strings.Contains(strings.ToLower(c), lower); far <= min(max(1, len(name)/3), 3) || (inside && len(name) >= 3) {
			if inside {
				far = min(far, 2)
			}
			found = append(found, match{c, far})
		}
	}
	slices.SortStableFunc(found, func(a, b match) int { return cmp.Or(a.far-b.far, strings.Compare(a.name, b.name)) })
	var out []string
	for _, m := range found {
		if m.far > found[0].far+1 {
			break
		}
		if !slices.Contains(out, m.name) && len(out) < 3 {
			out = append(out, m.name)
		}
	}
	return out
}

// didYouMean is the end of an error message, empty when nothing comes near.
func didYouMean(name string, candidates []string) string {
	if n := near(name, candidates); len(n) > 0 {
		return ": did you mean " + strings.Join(n, " or ") + "?"
	}
	return ""
}

// distance is the number of letters to insert, delete, replace or swap with their neighbour.
func distance(a, b string) int {
	before, last, next := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		next[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			next[j+1] = min(last[j]+cost, last[j+1]+1, next[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				next[j+1] = min(next[j+1], before[j-1]+1)
			}
		}
		before, last, next = last, next, before
	}
	return last[len(b)]
}
