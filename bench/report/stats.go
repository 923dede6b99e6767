package report

import (
	"math"
	"math/rand/v2"
	"slices"
)

// Value is an estimate with the interval that holds the true one with 95 %. N is on how many prompts
// it stands; with fewer than two the interval is empty.
type Value struct {
	Mid, Low, High float64
	N              int
}

// draws of a bootstrap, and the seed that makes reports of one file equal.
const (
	draws     = 1000
	drawsSeed = 20
)

// bootstrap estimates a statistic of prompts by drawing prompts with replacement (percentile intervals):
// generations of one prompt are not independent of each other.
func bootstrap(n int, statistic func(prompts []int) float64) Value {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	v := Value{N: n, Mid: statistic(all)}
	v.Low, v.High = v.Mid, v.Mid
	if n < 2 {
		return v
	}
	rng := rand.New(rand.NewPCG(drawsSeed, uint64(n)))
	var got []float64
	drawn := make([]int, n)
	for range draws {
		for i := range drawn {
			drawn[i] = rng.IntN(n)
		}
		if s := statistic(drawn); !math.IsNaN(s) {
			got = append(got, s)
		}
	}
	if len(got) == 0 {
		return v
	}
	slices.Sort(got)
	v.Low, v.High = got[int(0.025*float64(len(got)))], got[min(len(got)-1, int(0.975*float64(len(got))))]
	return v
}

// medianOf clusters of values, one cluster a prompt.
func medianOf(clusters [][]float64) Value {
	return bootstrap(len(clusters), func(prompts []int) float64 {
		var v []float64
		for _, p := range prompts {
			v = append(v, clusters[p]...)
		}
		return median(v)
	})
}

// ratioOf sums: a rate such as accepted per judged.
func ratioOf(above, below []float64) Value {
	return bootstrap(len(above), func(prompts []int) float64 {
		a, b := 0.0, 0.0
		for _, p := range prompts {
			a, b = a+above[p], b+below[p]
		}
		if b == 0 {
			return math.NaN()
		}
		return a / b
	})
}

func median(v []float64) float64 {
	if len(v) == 0 {
		return math.NaN()
	}
	slices.Sort(v)
	n := len(v)
	return (v[(n-1)/2] + v[n/2]) / 2
}

// signTest is the probability, if there were no difference, of signs at least as uneven as these (two
// sides); ties are left out.
func signTest(differences []float64) float64 {
	up, n := 0, 0
	for _, d := range differences {
		if d != 0 {
			n++
		}
		if d > 0 {
			up++
		}
	}
	if n == 0 {
		return 1
	}
	least, p := min(up, n-up), 0.0
	lg := func(k int) float64 { v, _ := math.Lgamma(float64(k + 1)); return v }
	for k := range least + 1 {
		p += math.Exp(lg(n) - lg(k) - lg(n-k) - float64(n)*math.Ln2)
	}
	return min(1, 2*p)
}

// wilson is the interval of a rate of independent trials.
func wilson(hits, n float64) (low, high float64) {
	const z = 1.96
	if n == 0 {
		return 0, 1
	}
	p := hits / n
	mid, half := p+z*z/(2*n), z*math.Sqrt(p*(1-p)/n+z*z/(4*n*n))
	return max(0, (mid-half)/(1+z*z/n)), min(1, (mid+half)/(1+z*z/n))
}
