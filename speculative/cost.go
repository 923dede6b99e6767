package speculative

import (
	"math"
	"time"
)

// CostModel learns what a target step costs from steps of mixed sizes: Step + Sequence x sequences +
// Position x rows. It minimises the relative error, forgets old steps, believes odd ones less, and
// leans on a prior as far as the noise makes the steps say nothing. Parts are never negative. The
// zero value knows nothing.
type CostModel struct {
	n      float64       // weight of the steps
	moment [3][3]float64 // of (1, sequences, rows), each divided by the expected duration
	toward [3]float64    // the same times the duration
	noise  float64       // mean square of the relative error
	mean   [3]float64    // smoothed (seconds, sequences, rows) of a step
	far    int           // steps in a row that were far off, negative: too short
	coef   [3]float64    // the estimate, seconds
}

const (
	costForget = 0.98
	// Steps beyond this many standard errors count less.
	costHuber = 2.0
	// So many steps in a row far off to one side are a change: what was known counts for little.
	costChange     = 6
	costChangeKeep = 0.002
	// Standard deviation of the prior: the share of a step that is due to sequences, or to rows.
	costPriorSpread = 0.4
	// Share of a step that all rows are taken for while nothing is known.
	costPriorRows = 0.01
)

// Observe takes in a step.
func (m *CostModel) Observe(sequences, rows int, took time.Duration) {
	if rows <= 0 || took <= 0 {
		return
	}
	x, y := [3]float64{1, float64(sequences), float64(rows)}, took.Seconds()
	weight, expected := 1.0, y
	if m.n > 0 {
		expected = m.predict(x)
		weight = m.judge(y/expected - 1)
	}
	expected = max(expected, y/100, 1e-7)
	scale := weight / (expected * expected)
	m.n = m.n*costForget + weight
	for i := range x {
		for j := range x {
			m.moment[i][j] = m.moment[i][j]*costForget + scale*x[i]*x[j]
		}
		m.toward[i] = m.toward[i]*costForget + scale*x[i]*y
	}
	rate := max(1-costForget, 1/(m.n+1))
	for i, v := range [3]float64{y, x[1], x[2]} {
		if m.n <= 1 {
			m.mean[i] = v
		}
		m.mean[i] += rate * (v - m.mean[i])
	}
	m.solve()
}

// judge returns the weight of a step that was off by a share of what was expected.
func (m *CostModel) judge(off float64) float64 {
	limit := costHuber * math.Sqrt(max(m.noise, 1e-4))
	weight := 1.0
	switch a := math.Abs(off); {
	case a <= limit:
		m.far = 0
	default:
		weight = limit / a
		if off > 0 {
			m.far = max(m.far, 0) + 1
		} else {
			m.far = min(m.far, 0) - 1
		}
	}
	square := min(off*off, limit*limit)
	if m.noise == 0 {
		m.noise = square
	}
	m.noise += 0.05 * (square - m.noise)
	if m.far >= costChange || m.far <= -costChange {
		m.far, m.n, m.noise = 0, m.n*costChangeKeep, m.noise/3
		for i := range m.moment {
			for j := range m.moment[i] {
				m.moment[i][j] *= costChangeKeep
			}
			m.toward[i] *= costChangeKeep
		}
		return 1
	}
	return weight
}

func (m *CostModel) predict(x [3]float64) float64 {
	return m.coef[0]*x[0] + m.coef[1]*x[1] + m.coef[2]*x[2]
}

// solve finds the best estimate whose parts are not negative, among those that let any of them be 0.
func (m *CostModel) solve() {
	a, b := m.moment, m.toward
	seconds := max(m.mean[0], 1e-9)
	lambda := max(m.noise, 1e-6) / (costPriorSpread * costPriorSpread)
	for i, share := range [3]float64{1 - costPriorRows, 0, costPriorRows} {
		unit := seconds / max(1, [3]float64{1, m.mean[1], m.mean[2]}[i]) // of share: all of a mean step
		l := lambda / (unit * unit)
		if i == 0 {
			l *= 0.01 // what the steps cost in all is not assumed
		}
		a[i][i] += l
		b[i] += l * share * unit
	}
	best := math.Inf(1)
	for free := 1; free < 8; free++ {
		v, ok := solveFree(a, b, free)
		if !ok {
			continue
		}
		loss := 0.0
		for i := range v {
			loss -= 2 * b[i] * v[i]
			for j := range v {
				loss += v[i] * a[i][j] * v[j]
			}
		}
		if loss < best {
			best, m.coef = loss, v
		}
	}
}

// solveFree solves a v = b over the coordinates whose bits are set, the others being 0. It is not
// ok when one comes out negative.
func solveFree(a [3][3]float64, b [3]float64, free int) (v [3]float64, ok bool) {
	for i := range 3 {
		if free&(1<<i) == 0 {
			for j := range 3 {
				a[i][j], a[j][i] = 0, 0
			}
			a[i][i], b[i] = 1, 0
		}
	}
	for i := range 3 { // positive definite: no pivoting
		if !(a[i][i] > 0) {
			return v, false
		}
		for k := i + 1; k < 3; k++ {
			f := a[k][i] / a[i][i]
			for j := i; j < 3; j++ {
				a[k][j] -= f * a[i][j]
			}
			b[k] -= f * b[i]
		}
	}
	for i := 2; i >= 0; i-- {
		v[i] = b[i]
		for j := i + 1; j < 3; j++ {
			v[i] -= a[i][j] * v[j]
		}
		if v[i] /= a[i][i]; !(v[i] >= 0) {
			return v, false
		}
	}
	return v, true
}

// Cost returns the estimate. A row always costs something: at least a tenth of what the prior says.
func (m *CostModel) Cost() Cost {
	if m.n == 0 {
		return Cost{Step: 40 * time.Millisecond, Position: 400 * time.Microsecond}
	}
	least := costPriorRows / 10 * m.mean[0] / max(1, m.mean[2])
	in := func(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
	return Cost{Step: in(m.coef[0]), Sequence: in(m.coef[1]), Position: max(1, in(max(m.coef[2], least)))}
}
