package router

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// made are examples whose worth hangs on two facts and on a word, with noise.
func made(n int, seed uint64) []Example {
	rng := rand.New(rand.NewPCG(seed, 7))
	var out []Example
	for i := range n {
		tokens, tools, hard := rng.Float64()*1000, rng.IntN(2) == 0, rng.IntN(3) == 0
		text := fmt.Sprintf("number %d please", i)
		if hard {
			text += " prove the lemma"
		}
		z := 2 - tokens/300
		if tools {
			z -= 1.5
		}
		if hard {
			z -= 2
		}
		e := Example{Facts: Facts{"prompt.tokens": tokens, "prompt.tools": tools, "link.up": true}, Text: text, Group: fmt.Sprint(i % 7), Strong: 1}
		if rng.Float64() < sigmoid(z) {
			e.Weak = 1
		}
		out = append(out, e)
	}
	return out
}

func TestTrainFindsWhatMatters(t *testing.T) {
	examples := made(3000, 1)
	scores, err := CrossScores(examples, 5, false, Training{Bits: 14})
	if err != nil {
		t.Fatal(err)
	}
	c := CurveOf(examples, scores)
	if c.Area < 0.59 || c.Low > c.Area || c.High < c.Area || c.High-c.Low > 0.05 || c.OracleArea <= c.Area || c.Half >= 0.5 {
		t.Errorf("%+v", c)
	}
	plain, err := CrossScores(examples, 5, true, Training{})
	if err != nil {
		t.Fatal(err)
	}
	if p := CurveOf(examples, plain); p.Area >= c.Area-0.005 || p.Area < 0.55 {
		t.Errorf("without words %.3f, with them %.3f", p.Area, c.Area)
	}
	constant := CurveOf(examples, make([]float64, len(examples)))
	if math.Abs(constant.Area-0.5) > 0.03 {
		t.Errorf("a score that says nothing: %+v", constant.Area)
	}
}

// The score is a probability: where it says 0.7, about 70 % are good.
func TestScoreIsCalibrated(t *testing.T) {
	examples := made(6000, 2)
	scores, err := CrossScores(examples, 5, false, Training{})
	if err != nil {
		t.Fatal(err)
	}
	sum, good, n := [5]float64{}, [5]float64{}, [5]float64{}
	for i, s := range scores {
		b := min(4, int(s*5))
		sum[b], good[b], n[b] = sum[b]+s, good[b]+examples[i].good(), n[b]+1
	}
	for b := range n {
		if n[b] > 100 && math.Abs(sum[b]-good[b])/n[b] > 0.08 {
			t.Errorf("where it says %.2f it is %.2f (%v)", sum[b]/n[b], good[b]/n[b], n[b])
		}
	}
}

func TestModelRoundTripAndThresholds(t *testing.T) {
	examples := made(500, 3)
	m, err := Train(examples, Training{Bits: 8})
	if err != nil {
		t.Fatal(err)
	}
	again, _ := Train(examples, Training{Bits: 8})
	var scores []float64
	for _, e := range examples {
		scores = append(scores, m.Score(e.Facts, e.Text))
	}
	m.Calibrate(scores)
	text, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	back, err := ParseModel("m.json", text)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range examples {
		if s := m.Score(e.Facts, e.Text); s != back.Score(e.Facts, e.Text) || s != again.Score(e.Facts, e.Text) || !(s >= 0 && s <= 1) {
			t.Fatalf("%v: %v, %v, %v", e, s, back.Score(e.Facts, e.Text), again.Score(e.Facts, e.Text))
		}
	}
	for _, share := range []float64{0, 0.1, 0.33, 0.5, 0.9, 1} {
		limit, ok := back.Threshold(share)
		below := 0
		for _, s := range scores {
			if s < limit {
				below++
			}
		}
		if got := float64(below) / float64(len(scores)); !ok || math.Abs(got-share) > 0.02 {
			t.Errorf("share %g: %g lie below %g", share, got, limit)
		}
	}
	if _, ok := (&Model{}).Threshold(0.5); ok {
		t.Error("a threshold out of nothing")
	}
	for _, bad := range []string{"", "{", `{"bits":30}`, `{"bits":2,"words":[1]}`, `{"features":[{"fact":"moon"}]}`} {
		if _, err := ParseModel("m.json", []byte(bad)); !errors.Is(err, ErrModel) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if _, err := Train(examples[:3], Training{}); !errors.Is(err, ErrExamples) {
		t.Error(err)
	}
}

// An outcome teaches what was known at the beginning and what at the end.
func TestFromRecord(t *testing.T) {
	e := FromRecord(Record{Facts: Facts{"prompt.tokens": 5.0, "draft.confidence": 0.9, "draft.agreement": 0.7}, Agreement: 0.8})
	if len(e) != 2 || len(e[0].Facts) != 2 || len(e[1].Facts) != 3 || math.Abs(e[0].good()-0.8) > 1e-9 {
		t.Errorf("%+v", e)
	}
}
