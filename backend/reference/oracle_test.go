package reference

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/models"
)

// naive computes the logits after the last of tokens in float64, straight from the papers: no cache,
// no batch, nothing shared with the engine but the loaded weights.
func naive(c *config, w *weights, tokens []backend.Token) []float64 {
	x := make([][]float64, len(tokens))
	for i, t := range tokens {
		x[i] = wide(w.embed.row(int(t), make([]float32, c.dim)))
	}
	for l := range w.layers {
		ly := &w.layers[l]
		ks, vs := make([][]float64, len(x)), make([][]float64, len(x))
		for i := range x {
			n := normed(x[i], ly.attnNorm, float64(c.eps))
			ks[i], vs[i] = rotated(c, w, times(ly.k, n), i), times(ly.v, n)
		}
		for i := range x {
			q := rotated(c, w, times(ly.q, normed(x[i], ly.attnNorm, float64(c.eps))), i)
			att := make([]float64, c.qDim)
			for h := range c.heads {
				kh := h * c.kvHeads / c.heads
				p, sum := make([]float64, i+1), 0.0
				for j := range p {
					s := 0.0
					for d := range c.headDim {
						s += q[h*c.headDim+d] * ks[j][kh*c.headDim+d]
					}
					p[j] = math.Exp(s / math.Sqrt(float64(c.headDim)))
					sum += p[j]
				}
				for j := range p {
					for d := range c.headDim {
						att[h*c.headDim+d] += p[j] / sum * vs[j][kh*c.headDim+d]
					}
				}
			}
			plus(x[i], times(ly.o, att))
			n := normed(x[i], ly.ffnNorm, float64(c.eps))
			g, u := times(ly.gate, n), times(ly.up, n)
			for d := range g {
				g[d] = g[d] / (1 + math.Exp(-g[d])) * u[d]
			}
			plus(x[i], times(ly.down, g))
		}
	}
	return times(w.output, normed(x[len(x)-1], w.norm, float64(c.eps)))
}

func wide(v []float32) []float64 {
	out := make([]float64, len(v))
	for i, x := range v {
		out[i] = float64(x)
	}
	return out
}

func normed(x []float64, weight []float32, eps float64) []float64 {
	sum := 0.0
	for _, v := range x {
		sum += v * v
	}
	out := make([]float64, len(x))
	for i, v := range x {
		out[i] = v / math.Sqrt(sum/float64(len(x))+eps) * float64(weight[i])
	}
	return out
}

func times(m *matrix, x []float64) []float64 {
	out := make([]float64, m.rows)
	for i := range out {
		for j, v := range m.row(i, make([]float32, m.cols)) {
			out[i] += float64(v) * x[j]
		}
		if m.bias != nil {
			out[i] += float64(m.bias[i])
		}
	}
	return out
}

func plus(x, y []float64) {
	for i, v := range y {
		x[i] += v
	}
}

func rotated(c *config, w *weights, x []float64, pos int) []float64 {
	for h := 0; h < len(x); h += c.headDim {
		for d := 0; d < c.ropeDims; d += 2 {
			f := math.Pow(c.ropeBase, -float64(d)/float64(c.ropeDims)) * c.ropeScale
			if w.ropeFactor != nil {
				f /= float64(w.ropeFactor[d/2])
			}
			z := complex(x[h+d], x[h+d+1]) * complex(math.Cos(float64(pos)*f), math.Sin(float64(pos)*f))
			x[h+d], x[h+d+1] = real(z), imag(z)
		}
	}
	return x
}

func TestLogitsAgreeWithNaiveForward(t *testing.T) {
	if raceDetector {
		t.Skip("no concurrency in it")
	}
	for _, tc := range []struct{ name, path, weights string }{
		{"awkward sizes", newSynth(7).file(t), "f32"},
		{"embedded draft", models.DraftName, "f32"},
		{"embedded draft, packed", models.DraftName, "packed"},
		{"embedded target", models.TargetName, "packed"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			e := engine(t, tc.path, "weights", tc.weights)
			rng := rand.New(rand.NewPCG(1, 2))
			log := make([]backend.Token, 40)
			for i := range log {
				log[i] = rng.Int32N(int32(e.c.vocab))
			}
			var worst, scale float64
			e.m.observe = func(r *row, logits []float32) {
				if r.index%20 != 19 {
					return
				}
				for i, v := range naive(&e.c, e.m.w, log[:r.index+1]) {
					worst, scale = max(worst, math.Abs(v-float64(logits[i]))), max(scale, math.Abs(v))
				}
			}
			forward(t, e, backend.Segment{Sequence: 1, Tokens: log, Setup: greedy})
			t.Logf("largest difference %.2g, largest logit %.3g", worst, scale)
			if scale == 0 || worst > 1e-5*scale {
				t.Fatalf("logits up to %g differ by %g", scale, worst)
			}
		})
	}
}
