package backend

import (
	"errors"
	"math"
	"testing"

	outriderv1 "github.com/outrider-llm/outrider/proto/outrider/v1"
	"github.com/outrider-llm/outrider/speculative"
)

func TestLogprobsCrossTheBoundary(t *testing.T) {
	in := Result{Choices: make([]speculative.Choice, 2), Logprobs: []speculative.Logprobs{
		{Chosen: -0.5, Top: []speculative.TokenLogprob{{Token: 3, Logprob: -0.5}, {Token: 0, Logprob: -2}}},
		{Chosen: float32(math.Inf(-1))}}}
	out := resultFromProto(resultToProto(in, 2), 2, 10)
	if out.Err != nil || len(out.Logprobs) != 2 || out.Logprobs[0].Top[1] != in.Logprobs[0].Top[1] || out.Logprobs[1].Chosen != in.Logprobs[1].Chosen {
		t.Errorf("%+v", out)
	}
	seg := segmentToProto(&Segment{Tokens: []Token{1}, Setup: &Setup{}, Logprobs: 9})
	if s, err := segmentFromProto(seg, &Info{ContextLength: 9, VocabularySize: 9}); err != nil || s.Logprobs != 9 {
		t.Errorf("%+v, %v", s, err)
	}
	for i, bad := range [][]*outriderv1.Logprobs{
		{{}, {}},
		{{Tokens: []uint32{1}}},
		{{Chosen: float32(math.NaN())}},
		{{Chosen: 1}},
		{{Tokens: []uint32{10}, Values: []float32{-1}}},
		{{Tokens: []uint32{1}, Values: []float32{float32(math.NaN())}}},
		{{Tokens: make([]uint32, 65), Values: make([]float32, 65)}},
	} {
		m := &outriderv1.SegmentResult{Choices: []*outriderv1.Choice{{}}, Logprobs: bad}
		if r := resultFromProto(m, 1, 10); !errors.Is(r.Err, errMisbehaves) {
			t.Errorf("%d: %+v", i, r)
		}
	}
}
