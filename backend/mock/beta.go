package mock

import (
	"math"
	"math/rand/v2"
)

// Beta draws quantiles of Beta(mean k, (1-mean) k) (gamma variates by Marsaglia and Tsang, 2000),
// shifted so that their mean is the one asked for; nil when there is nothing to draw (k is 0, or the mean
// 0 or 1).
func Beta(mean, k float64) []float64 {
	if k == 0 || mean <= 0 || mean >= 1 {
		return nil
	}
	r := rand.New(rand.NewPCG(42, 1))
	gamma := func(shape float64) float64 {
		boost := 1.0
		if shape < 1 {
			boost = math.Pow(r.Float64(), 1/shape)
			shape++
		}
		d := shape - 1.0/3
		c := 1 / math.Sqrt(9*d)
		for {
			x := r.NormFloat64()
			v := math.Pow(1+c*x, 3)
			if v > 0 && math.Log(r.Float64()) < 0.5*x*x+d-d*v+d*math.Log(v) {
				return d * v * boost
			}
		}
	}
	table, sum := make([]float64, 8192), 0.0
	for i := range table {
		x, y := gamma(mean*k), gamma((1-mean)*k)
		if table[i] = x / (x + y); x+y == 0 {
			table[i] = mean
		}
		sum += table[i]
	}
	shift := mean - sum/float64(len(table))
	for i := range table {
		table[i] = min(max(table[i]+shift, 0), 1)
	}
	return table
}
