package sidechannel

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
)

// sample is a session as classifiers see it.
type sample struct {
	x     []float64
	label int
}

// Accuracies of the classifiers, 0 to 1.
type Accuracies struct {
	Forest, Neighbours float64
}

// Best is that of the better attacker.
func (a Accuracies) Best() float64 { return max(a.Forest, a.Neighbours) }

// crossValidate lets classifiers learn from all groups but one and tell the labels of that one, for each.
func crossValidate(all []sample, group []int, groups int) (a Accuracies) {
	rng := rand.New(rand.NewPCG(1, 2))
	right := [2]int{}
	for g := range groups {
		var train, test []sample
		for i, s := range all {
			if group[i] == g {
				test = append(test, s)
			} else {
				train = append(train, s)
			}
		}
		if len(train) == 0 {
			continue
		}
		f, k := grow(train, rng), newNeighbours(train)
		for _, s := range test {
			if f.label(s.x) == s.label {
				right[0]++
			}
			if k.label(s.x) == s.label {
				right[1]++
			}
		}
	}
	n := float64(max(1, len(all)))
	return Accuracies{float64(right[0]) / n, float64(right[1]) / n}
}

// forest is a random forest (Breiman 2001), what work on this side channel uses.
type forest struct {
	trees  []*node
	labels int
}

type node struct {
	feature     int
	at          float64
	less, other *node
	votes       []float64 // of a leaf
}

const (
	treeCount = 100
	maxDepth  = 16
)

func grow(train []sample, rng *rand.Rand) *forest {
	f := &forest{}
	for _, s := range train {
		f.labels = max(f.labels, s.label+1)
	}
	for range treeCount {
		bag := make([]sample, len(train))
		for i := range bag {
			bag[i] = train[rng.IntN(len(train))]
		}
		f.trees = append(f.trees, f.branch(bag, rng, 0))
	}
	return f
}

// branch splits by the best of a few random features.
func (f *forest) branch(in []sample, rng *rand.Rand, depth int) *node {
	n := &node{votes: make([]float64, f.labels)}
	for _, s := range in {
		n.votes[s.label] += 1 / float64(len(in))
	}
	if depth == maxDepth || slices.Max(n.votes) == 1 {
		return n
	}
	width := len(in[0].x)
	best, found := gini(n.votes), false
	for range int(math.Sqrt(float64(width))) + 1 {
		i := rng.IntN(width)
		slices.SortFunc(in, func(a, b sample) int { return cmp.Compare(a.x[i], b.x[i]) })
		if at, g, ok := f.split(in, i); ok && g < best-1e-9 {
			best, n.feature, n.at, found = g, i, at, true
		}
	}
	if !found {
		return n
	}
	var a, b []sample
	for _, s := range in {
		if s.x[n.feature] < n.at {
			a = append(a, s)
		} else {
			b = append(b, s)
		}
	}
	n.less, n.other = f.branch(a, rng, depth+1), f.branch(b, rng, depth+1)
	return n
}

// split finds where to cut samples that are sorted by a feature: the least impurity of both sides.
func (f *forest) split(in []sample, feature int) (at, impurity float64, ok bool) {
	left, right := make([]float64, f.labels), make([]float64, f.labels)
	for _, s := range in {
		right[s.label]++
	}
	n, impurity := float64(len(in)), math.Inf(1)
	for i := range len(in) - 1 {
		left[in[i].label]++
		right[in[i].label]--
		a, b := in[i].x[feature], in[i+1].x[feature]
		if a == b {
			continue
		}
		k := float64(i + 1)
		if g := (k*giniOf(left, k) + (n-k)*giniOf(right, n-k)) / n; g < impurity {
			at, impurity, ok = (a+b)/2, g, true
		}
	}
	return at, impurity, ok
}

func gini(shares []float64) float64 { return giniOf(shares, 1) }

func giniOf(counts []float64, n float64) float64 {
	sum := 1.0
	for _, c := range counts {
		sum -= c / n * c / n
	}
	return sum
}

func (f *forest) label(x []float64) int {
	votes := make([]float64, f.labels)
	for _, t := range f.trees {
		for t.less != nil {
			if x[t.feature] < t.at {
				t = t.less
			} else {
				t = t.other
			}
		}
		for i, v := range t.votes {
			votes[i] += v
		}
	}
	return argmax(votes)
}

// neighbours asks the nearest samples, of features that are scaled to the same spread.
type neighbours struct {
	train       []sample
	mean, scale []float64
	labels      int
}

const nearest = 5

func newNeighbours(train []sample) *neighbours {
	k := &neighbours{mean: make([]float64, len(train[0].x)), scale: make([]float64, len(train[0].x))}
	n := float64(len(train))
	for i := range k.mean {
		sum, squares := 0.0, 0.0
		for _, s := range train {
			sum, squares = sum+s.x[i], squares+s.x[i]*s.x[i]
		}
		k.mean[i] = sum / n
		if v := squares/n - k.mean[i]*k.mean[i]; v > 1e-9 {
			k.scale[i] = 1 / math.Sqrt(v)
		}
	}
	for _, s := range train {
		k.labels = max(k.labels, s.label+1)
		k.train = append(k.train, sample{k.scaled(s.x), s.label})
	}
	return k
}

func (k *neighbours) scaled(x []float64) []float64 {
	out := make([]float64, len(x))
	for i := range x {
		out[i] = (x[i] - k.mean[i]) * k.scale[i]
	}
	return out
}

func (k *neighbours) label(x []float64) int {
	x = k.scaled(x)
	type near struct {
		d     float64
		label int
	}
	var all []near
	for _, s := range k.train {
		d := 0.0
		for i := range x {
			d += math.Abs(x[i] - s.x[i])
		}
		all = append(all, near{d, s.label})
	}
	slices.SortFunc(all, func(a, b near) int { return cmp.Compare(a.d, b.d) })
	votes := make([]float64, k.labels)
	for i, n := range all[:min(nearest, len(all))] {
		votes[n.label] += 1 / float64(i+2)
	}
	return argmax(votes)
}

func argmax(v []float64) int {
	best := 0
	for i := range v {
		if v[i] > v[best] {
			best = i
		}
	}
	return best
}
