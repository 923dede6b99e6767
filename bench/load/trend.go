package load

import (
	"math"
	"slices"
)

// Trend is how a figure went over time, after a warm-up: a level, a slope that outliers do not bend, and whether it
// grows for good.
type Trend struct {
	Start float64 `json:"start"` // median of the first block after the warm-up
	Mid   float64 `json:"median"`
	End   float64 `json:"end"`      // median of the last block
	Hour  float64 `json:"per_hour"` // Theil-Sen slope
	Z     float64 `json:"z"`        // Mann-Kendall; above 2.3 a rise is none by chance in 99 of 100 cases
	Grows bool    `json:"grows"`
}

const (
	warmUp      = 0.2 // of the samples are left out
	trendBlocks = 24  // medians of so many pieces are compared, since neighbouring samples are not independent
	surely      = 2.33
)

// TrendOf judges samples taken at times (hours). Growth by no more than allowed over the whole time counts as none.
func TrendOf(hours, values []float64, allowed float64) (t Trend) {
	skip := int(warmUp * float64(len(values)))
	hours, values = hours[skip:], values[skip:]
	n := min(trendBlocks, len(values))
	if n < 2 {
		return t
	}
	x, y := make([]float64, n), make([]float64, n)
	for i := range n {
		from, to := i*len(values)/n, (i+1)*len(values)/n
		x[i], y[i] = middle(hours[from:to]), middle(values[from:to])
	}
	var slopes []float64
	signs, ties := 0.0, map[float64]float64{}
	for i := range n {
		ties[y[i]]++
		for j := range i {
			slopes = append(slopes, (y[i]-y[j])/(x[i]-x[j]))
			switch {
			case y[i] > y[j]:
				signs++
			case y[i] < y[j]:
				signs--
			}
		}
	}
	variance := spread(float64(n))
	for _, k := range ties {
		variance -= spread(k)
	}
	if signs != 0 && variance > 0 {
		t.Z = (signs - math.Copysign(1, signs)) / math.Sqrt(variance)
	}
	t.Start, t.Mid, t.End, t.Hour = y[0], middle(values), y[n-1], middle(slopes)
	t.Grows = t.Z > surely && t.Hour*(x[n-1]-x[0]) > allowed
	return t
}

// spread is the variance of Mann-Kendall's sum over n values in random order.
func spread(n float64) float64 { return n * (n - 1) * (2*n + 5) / 18 }

func middle(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}
