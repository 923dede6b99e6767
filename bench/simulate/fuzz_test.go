package simulate

import (
	"errors"
	"strings"
	"testing"
)

// FuzzReadArrivals: a trace of arrivals is refused with ErrConfig, or read with sizes that make sense.
func FuzzReadArrivals(f *testing.F) {
	f.Add("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03.9799600,4808,10\n2023-11-16 18:17:04.0319600,110,27\n", 0, 1.0, 512)
	f.Add("a,b,c\n,,\n", 1, 0.0, 0)
	f.Add("a,b,c\n2023-11-16 18:17:03,-1,99999999999999999999\n", 1, 1e-300, -5)
	f.Fuzz(func(t *testing.T, text string, most int, speed float64, longest int) {
		list, err := ReadArrivals(strings.NewReader(text), most, speed, longest)
		if err != nil {
			if !errors.Is(err, ErrConfig) {
				t.Fatal(err)
			}
			return
		}
		if most > 0 && len(list) > most {
			t.Fatalf("%d arrivals, %d were asked for", len(list), most)
		}
		for _, a := range list {
			if a.Prompt < 1 || a.Tokens < 1 {
				t.Fatalf("%+v", a)
			}
		}
	})
}
