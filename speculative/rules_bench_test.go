package speculative

import (
	"slices"
	"testing"
)

// BenchmarkRules is what a rule costs per row of a vocabulary of 32,000.
func BenchmarkRules(b *testing.B) {
	logits := make([]float32, 32000)
	for i := range logits {
		logits[i] = float32(mix(uint64(i))>>44) * 0x1p-20 * 12
	}
	for _, c := range []struct {
		name   string
		rule   Rule
		drafts bool
	}{
		{"coupled", Rule{}, false}, {"rejection", Rule{Kind: Rejection}, false}, {"rejection-draft", Rule{Kind: Rejection}, true},
		{"lenient", Rule{Kind: Lenient}, false},
	} {
		b.Run(c.name, func(b *testing.B) {
			s := NewSampler(Params{Temperature: 1}, 1)
			s.Follow(c.rule, c.drafts)
			s.Push(1)
			row := slices.Clone(logits)
			for b.Loop() {
				copy(row, logits)
				s.Judge(row, []Proposal{{Token: 7}})
			}
		})
	}
}
