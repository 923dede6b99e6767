package privacy

import (
	"fmt"
	"strings"
	"testing"
)

// BenchmarkHostile: time per byte must not grow with the length.
func BenchmarkHostile(b *testing.B) {
	d := detector(b, "Ada Lovelace", "王小明")
	for _, s := range []string{"1 ", "1", "+1(", "a@a.", "password:", "DE89", "eyJaaaaaaaa.", "token=", "://a:", "王小", "12.", "110105194912310021"} {
		for _, n := range []int{10000, 40000} {
			text := strings.Repeat(s, n/len(s))
			b.Run(fmt.Sprintf("%s/%d", s, n), func(b *testing.B) {
				b.SetBytes(int64(len(text)))
				for b.Loop() {
					d.Detect(text)
				}
			})
		}
	}
}
