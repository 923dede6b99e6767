package reference

import (
	"math"
	"testing"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/speculative"
)

// script reads segments from fuzzed bytes.
type script struct{ b []byte }

func (s *script) next() int {
	if len(s.b) == 0 {
		return 0
	}
	v := int(s.b[0])
	s.b = s.b[1:]
	return v
}

// number is mostly small and sometimes absurd.
func (s *script) number(limit int) int {
	switch v := s.next(); v {
	case 255:
		return math.MaxInt
	case 254:
		return math.MinInt
	case 253:
		return -1
	default:
		return v % limit
	}
}

func (s *script) segment() backend.Segment {
	g := backend.Segment{Sequence: backend.Sequence(s.next() % 4), Start: s.number(50)}
	for range s.next() % 24 {
		g.Tokens = append(g.Tokens, backend.Token(s.number(63)))
	}
	g.From = s.number(len(g.Tokens) + 2)
	flags := s.next()
	if flags&1 != 0 {
		g.Setup = &backend.Setup{PromptLength: s.number(20), Params: speculative.Params{
			Temperature: float32(s.number(3)), TopK: s.number(9), PresencePenalty: float32(flags >> 6)}}
	}
	if flags&2 != 0 {
		for i := range g.Tokens {
			g.Parents = append(g.Parents, int32(s.number(i+1)-flags>>3&1))
		}
	}
	if flags&4 != 0 {
		g.Keep = []int32{}
		for range s.next() % 5 {
			g.Keep = append(g.Keep, int32(s.number(6)))
		}
	}
	return g
}

// Nothing that a host sends may panic, break the books, or yield a wrong number of choices.
func FuzzForward(f *testing.F) {
	f.Add([]byte("\x02\x01\x00\x03\x01\x02\x03\x00\x01\x00\x00\x00"))
	f.Add([]byte("\x01\x00\x00\x05\x01\x02\x03\x04\x05\x00\x03\x04\x00\x00\x00\x00\x01\x02\x03\x00\x01\x00\x02\x01\x05\x00\x04\x02\x00\x01"))
	f.Add([]byte("\x02\x00\xff\x01\x01\x00\x00\x01\x00\x14\xfe\xfd\xff\x03"))
	e := engine(f, newSynth(1).file(f), "kv_tokens", "80", "sequences", "3", "threads", "1")
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := e.Release(t.Context(), []backend.Sequence{0, 1, 2, 3}); err != nil {
			t.Fatal(err)
		}
		s := &script{b: b}
		for len(s.b) > 0 {
			batch := make([]backend.Segment, s.next()%4)
			for i := range batch {
				batch[i] = s.segment()
			}
			r, err := e.Forward(t.Context(), batch)
			if err != nil || len(r) != len(batch) {
				t.Fatalf("%d results for %d segments, %v", len(r), len(batch), err)
			}
			for i := range r {
				if r[i].Err == nil && len(r[i].Choices) != len(batch[i].Tokens)-batch[i].From {
					t.Fatalf("%d choices for %+v", len(r[i].Choices), batch[i])
				}
			}
			audit(t, e)
		}
	})
}
