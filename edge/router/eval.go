package router

import (
	"cmp"
	"hash/fnv"
	"math/rand/v2"
	"slices"
)

// Point of a curve: the quality kept when a share of the answers is the cloud's.
type Point struct {
	Share   float64 `json:"share"`
	Router  float64 `json:"router"`
	Random  float64 `json:"random"`
	Oracle  float64 `json:"oracle"`
	Score   float64 `json:"threshold"` // below it answers go to the cloud
	Recover float64 `json:"recovered"` // of the gap between draft and target
}

// Curve says what routing by a score is worth, next to random routing and an oracle that knows which
// answers will be right.
type Curve struct {
	Examples int     `json:"examples"`
	Weak     float64 `json:"weak"`   // quality of the draft alone
	Strong   float64 `json:"strong"` // of the target alone
	Points   []Point `json:"points"`
	// Area is the mean share of the gap between draft and target that is recovered, over all shares of the
	// cloud (RouteLLM's APGR): 0.5 is random. Low and High enclose 95 % of resamples.
	Area       float64 `json:"area"`
	Low        float64 `json:"area_low"`
	High       float64 `json:"area_high"`
	OracleArea float64 `json:"oracle_area"`
	// Half and Most are the shares of the cloud that recover 50 and 80 % of the gap; random needs as much.
	Half float64 `json:"share_for_50"`
	Most float64 `json:"share_for_80"`
}

// CrossScores gives each example a score by a model that was trained without its fold. Folds are of
// groups, whole ones, or of single examples by their text, where they have one; Train's errors.
func CrossScores(examples []Example, folds int, byGroup bool, t Training) ([]float64, error) {
	fold := make([]int, len(examples))
	for i, e := range examples {
		key := e.Text
		if byGroup || key == "" {
			key = e.Group
		}
		h := fnv.New64a()
		_, _ = h.Write([]byte(key)) // never fails
		fold[i] = int(mix(h.Sum64()) % uint64(folds))
	}
	scores := make([]float64, len(examples))
	for k := range folds {
		var train []Example
		for i, e := range examples {
			if fold[i] != k {
				train = append(train, e)
			}
		}
		m, err := Train(train, t)
		if err != nil {
			return nil, err
		}
		for i, e := range examples {
			if fold[i] == k {
				scores[i] = m.Score(e.Facts, e.Text)
			}
		}
	}
	return scores, nil
}

// mix spreads the bits of a hash whose low ones are alike.
func mix(h uint64) uint64 {
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	return h ^ h>>33
}

// Steps of a curve, and resamples for its spread.
const (
	steps     = 20
	resamples = 200
)

// CurveOf says what scores are worth: answers with low scores go to the cloud first.
func CurveOf(examples []Example, scores []float64) Curve {
	c := Curve{Examples: len(examples)}
	if len(examples) == 0 {
		return c
	}
	all := make([]int, len(examples))
	for i := range all {
		all[i] = i
		c.Weak += examples[i].Weak / float64(len(all))
		c.Strong += examples[i].Strong / float64(len(all))
	}
	byScore := slices.Clone(all)
	slices.SortStableFunc(byScore, func(a, b int) int { return cmp.Compare(scores[a], scores[b]) })
	byGain := slices.Clone(all)
	gain := func(i int) float64 { return examples[i].Strong - examples[i].Weak }
	slices.SortStableFunc(byGain, func(a, b int) int { return cmp.Compare(gain(b), gain(a)) })
	router, oracle := qualities(examples, byScore, c.Weak), qualities(examples, byGain, c.Weak)
	gap := c.Strong - c.Weak
	for k := range steps + 1 {
		share := float64(k) / steps
		p := Point{Share: share, Router: at(router, share), Oracle: at(oracle, share), Random: c.Weak + share*gap}
		p.Score = scores[byScore[min(len(byScore)-1, int(share*float64(len(byScore))))]]
		if gap > 0 {
			p.Recover = (p.Router - c.Weak) / gap
		}
		c.Points = append(c.Points, p)
	}
	c.Area, c.OracleArea = area(router, c.Weak, gap), area(oracle, c.Weak, gap)
	c.Half, c.Most = reach(router, c.Weak+gap/2), reach(router, c.Weak+gap*0.8)
	c.spread(examples, scores)
	return c
}

// qualities are the mean worths when the first 0, 1, 2, ... of an order are the cloud's.
func qualities(examples []Example, order []int, weak float64) []float64 {
	out, q := make([]float64, 0, len(order)+1), weak
	out = append(out, q)
	for _, i := range order {
		q += (examples[i].Strong - examples[i].Weak) / float64(len(order))
		out = append(out, q)
	}
	return out
}

func at(q []float64, share float64) float64 { return q[int(share*float64(len(q)-1)+0.5)] }

// area is the mean of the recovered part of the gap; 0 when there is none.
func area(q []float64, weak, gap float64) float64 {
	if gap <= 0 {
		return 0
	}
	sum := 0.0
	for _, v := range q {
		sum += (v - weak) / gap
	}
	return sum / float64(len(q))
}

// reach is the least share with which a quality is kept from there on; 1 when never before.
func reach(q []float64, want float64) float64 {
	for i, v := range q {
		if v >= want-1e-12 {
			return float64(i) / float64(len(q)-1)
		}
	}
	return 1
}

// spread resamples the examples.
func (c *Curve) spread(examples []Example, scores []float64) {
	rng := rand.New(rand.NewPCG(1, 2))
	n := len(examples)
	var areas []float64
	type scored struct{ score, gain float64 }
	sample := make([]scored, n)
	for range resamples {
		for i := range sample {
			j := rng.IntN(n)
			sample[i] = scored{scores[j], examples[j].Strong - examples[j].Weak}
		}
		slices.SortFunc(sample, func(a, b scored) int { return cmp.Compare(a.score, b.score) })
		sum, gain := 0.0, 0.0
		for _, s := range sample {
			gain += s.gain
			sum += gain
		}
		if gain > 0 {
			areas = append(areas, sum/gain/float64(n))
		}
	}
	if len(areas) > 0 {
		slices.Sort(areas)
		c.Low, c.High = areas[len(areas)*25/1000], areas[len(areas)*975/1000]
	}
}

// Calibrate sets a model's thresholds by the wanted share of answers with the cloud, from scores that it
// has not been trained on.
func (m *Model) Calibrate(scores []float64) {
	sorted := slices.Clone(scores)
	slices.Sort(sorted)
	m.Thresholds = nil
	for k := range steps + 1 {
		share := float64(k) / steps
		t := Threshold{Share: share, Score: 1.01}
		if i := int(share * float64(len(sorted))); i < len(sorted) {
			t.Score = sorted[i]
		}
		m.Thresholds = append(m.Thresholds, t)
	}
}

// Threshold is the score below which a wanted share of answers lies; false: the model was not calibrated.
func (m *Model) Threshold(share float64) (float64, bool) {
	for i, t := range m.Thresholds {
		if t.Share < share && i+1 < len(m.Thresholds) {
			continue
		}
		if i == 0 || t.Share <= share {
			return t.Score, true
		}
		p := m.Thresholds[i-1]
		return p.Score + (t.Score-p.Score)*(share-p.Share)/(t.Share-p.Share), true
	}
	return 0, false
}
