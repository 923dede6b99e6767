package backend

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	outriderv1 "github.com/outrider-llm/outrider/proto/outrider/v1"
	"github.com/outrider-llm/outrider/speculative"
)

func testInfo() *Info {
	return &Info{Name: "m", Engine: "e", Architecture: "a", ContextLength: 64, VocabularySize: 100, Vocabulary: "v",
		EndTokens: []Token{2, 99}, Numerics: "n", Sequences: 4, KVTokens: 256, Trees: true, Constraints: true, ShapeDependent: true, Parameters: 1 << 40}
}

func TestSegmentRoundTrip(t *testing.T) {
	for _, s := range []Segment{
		{Sequence: math.MaxUint64, Start: 3, Tokens: []Token{0, 99}, From: 2},
		{Sequence: 1, Tokens: []Token{1, 2, 3}, Parents: []int32{-1, 0, -1}, From: 1, Keep: []int32{0, 2, 5},
			Setup: &Setup{PromptLength: 3, Params: speculative.Params{Temperature: 0.7, TopK: 40, TopP: 0.9, MinP: 0.1,
				RepetitionPenalty: 1.1, PresencePenalty: 1, FrequencyPenalty: 2, Seed: math.MaxUint64, Choice: 3,
				LogitBias: map[Token]float32{5: -100}}}},
	} {
		got, err := segmentFromProto(segmentToProto(&s), testInfo())
		if err != nil || !reflect.DeepEqual(got, s) {
			t.Errorf("%+v became %+v, %v", s, got, err)
		}
	}
	i, err := infoFromProto(infoToProto(testInfo()))
	if err != nil || !reflect.DeepEqual(&i, testInfo()) || !i.same(testInfo()) {
		t.Errorf("info became %+v, %v", i, err)
	}
	choices := []speculative.Choice{{Token: 99, Confidence: 1, Second: -1}, {Token: 0, Confidence: 0.5, Second: 99}, {Token: 1, Second: 0}}
	r := resultFromProto(resultToProto(Result{Choices: choices}, 3), 3, 100)
	if r.Err != nil || !reflect.DeepEqual(r.Choices, choices) {
		t.Errorf("choices became %+v", r)
	}
}

func TestSegmentRefused(t *testing.T) {
	good := func() *outriderv1.Segment {
		return segmentToProto(&Segment{Tokens: []Token{1, 2, 3}, Parents: []int32{-1, 0, 1}, Setup: &Setup{}})
	}
	for name, x := range map[string]struct {
		change func(*outriderv1.Segment)
		is     error
	}{
		"no tokens":        {func(s *outriderv1.Segment) { s.Tokens, s.Parents = nil, nil }, ErrInvalid},
		"token":            {func(s *outriderv1.Segment) { s.Tokens[1] = 100 }, ErrInvalid},
		"huge token":       {func(s *outriderv1.Segment) { s.Tokens[1] = math.MaxUint32 }, ErrInvalid},
		"no setup":         {func(s *outriderv1.Segment) { s.Setup = nil }, ErrInvalid},
		"from":             {func(s *outriderv1.Segment) { s.From = 4 }, ErrInvalid},
		"parents missing":  {func(s *outriderv1.Segment) { s.Parents = s.Parents[:2] }, ErrInvalid},
		"parent is itself": {func(s *outriderv1.Segment) { s.Parents[1] = 2 }, ErrInvalid},
		"keep twice":       {func(s *outriderv1.Segment) { s.Keep = []uint32{1, 1} }, ErrInvalid},
		"keep huge":        {func(s *outriderv1.Segment) { s.Keep = []uint32{math.MaxUint32} }, ErrInvalid},
		"temperature":      {func(s *outriderv1.Segment) { s.Setup.Sampling = &outriderv1.Sampling{Temperature: -1} }, ErrInvalid},
		"prompt length":    {func(s *outriderv1.Segment) { s.Setup.PromptLength = math.MaxUint32 }, ErrInvalid},
		"start":            {func(s *outriderv1.Segment) { s.Start = math.MaxUint32 }, ErrContextFull},
		"end":              {func(s *outriderv1.Segment) { s.Start = 62 }, ErrContextFull},
	} {
		s := good()
		if _, err := segmentFromProto(s, testInfo()); err != nil {
			t.Fatal(err)
		}
		x.change(s)
		if _, err := segmentFromProto(s, testInfo()); !errors.Is(err, x.is) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Two branches of one token end at the same position.
	if _, err := segmentFromProto(segmentToProto(&Segment{Start: 63, Tokens: []Token{1, 2}, Parents: []int32{-1, -1}}), testInfo()); err != nil {
		t.Error(err)
	}
	flat := testInfo()
	flat.Trees = false
	if _, err := segmentFromProto(good(), flat); !errors.Is(err, ErrInvalid) {
		t.Errorf("a tree for a model without: %v", err)
	}
}

// errors.Is works on both sides and the text says it once.
func TestErrorsCross(t *testing.T) {
	for _, s := range []error{ErrSequenceLost, ErrContextFull, ErrNoMemory, ErrInvalid} {
		for _, err := range []error{s, fmt.Errorf("%w: why\nthat", s), fmt.Errorf("deep: %w", fmt.Errorf("%w: why", s))} {
			code, text := errorToProto(err)
			back := errorFromProto(code, text)
			if !errors.Is(back, s) || strings.Contains(back.Error(), "\n") || strings.Count(back.Error(), "why") != strings.Count(err.Error(), "why") {
				t.Errorf("%q became %q", err, back)
			}
		}
	}
	back := errorFromProto(errorToProto(errors.New("device lost")))
	for _, s := range []error{ErrSequenceLost, ErrContextFull, ErrNoMemory, ErrInvalid, ErrUnavailable, ErrLoad} {
		if errors.Is(back, s) {
			t.Errorf("%v is %v", back, s)
		}
	}
	if !strings.Contains(back.Error(), "device lost") || errorFromProto(errorToProto(nil)) != nil {
		t.Error(back)
	}
	if err := errorFromProto(1000, strings.Repeat("x", 1<<20)); err == nil || len(err.Error()) > 1000 {
		t.Error("an unknown code or an endless text")
	}
}

func TestBadAnswers(t *testing.T) {
	ok := &outriderv1.Choice{Token: 1, Confidence: 0.5}
	for name, m := range map[string]*outriderv1.SegmentResult{
		"nil":        nil,
		"too few":    {},
		"too many":   {Choices: []*outriderv1.Choice{ok, ok}},
		"token":      {Choices: []*outriderv1.Choice{{Token: 100}}},
		"second":     {Choices: []*outriderv1.Choice{{Token: 1, Second: 101}}},
		"huge":       {Choices: []*outriderv1.Choice{{Token: math.MaxUint32, Second: math.MaxUint32}}},
		"confidence": {Choices: []*outriderv1.Choice{{Token: 1, Confidence: float32(math.NaN())}}},
	} {
		if r := resultFromProto(m, 1, 100); !errors.Is(r.Err, errMisbehaves) {
			t.Errorf("%s: %+v", name, r)
		}
	}
	if _, err := infoFromProto(nil); !errors.Is(err, errMisbehaves) {
		t.Errorf("no info: %v", err)
	}
}

// Whatever comes in, what gets through is within the contract and survives the way back.
func FuzzSegment(f *testing.F) {
	for _, s := range []Segment{{Tokens: []Token{1, 2}, Parents: []int32{-1, -1}, Setup: &Setup{}}, {Start: 9, Tokens: []Token{7}, Keep: []int32{1, 3}}} {
		b, err := proto.Marshal(segmentToProto(&s))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var m outriderv1.Segment
		if proto.Unmarshal(b, &m) != nil {
			return
		}
		s, err := segmentFromProto(&m, testInfo())
		if err != nil {
			code, text := errorToProto(err)
			if code == outriderv1.SegmentError_SEGMENT_ERROR_INTERNAL || strings.Contains(text, "\n") {
				t.Fatalf("%v has no code or several lines", err)
			}
			return
		}
		if len(s.Tokens) == 0 || s.Start < 0 || s.Start >= 64 || s.From < 0 || s.From > len(s.Tokens) || (s.Start == 0 && s.Setup == nil) {
			t.Fatalf("%+v got through", s)
		}
		for i, tok := range s.Tokens {
			if tok < 0 || tok >= 100 || (s.Parents != nil && (s.Parents[i] < -1 || int(s.Parents[i]) >= i)) {
				t.Fatalf("%+v got through", s)
			}
		}
		again, err := segmentFromProto(segmentToProto(&s), testInfo())
		if err != nil || !reflect.DeepEqual(again, s) {
			t.Fatalf("%+v became %+v, %v", s, again, err)
		}
	})
}

// FuzzAnswer is the host's side: a plugin of somebody else's may answer anything.
func FuzzAnswer(f *testing.F) {
	b, err := proto.Marshal(&outriderv1.ForwardResponse{Results: []*outriderv1.SegmentResult{resultToProto(
		Result{Choices: []speculative.Choice{{Token: 1, Confidence: 0.5, Second: -1}}}, 1)}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		var m outriderv1.ForwardResponse
		if proto.Unmarshal(b, &m) != nil {
			return
		}
		for _, r := range m.GetResults() {
			got := resultFromProto(r, 1, 100)
			if got.Err == nil && (len(got.Choices) != 1 || got.Choices[0].Token < 0 || got.Choices[0].Token >= 100 ||
				got.Choices[0].Second < -1 || got.Choices[0].Second >= 100) {
				t.Fatalf("%+v got through", got)
			}
		}
	})
}

func TestBackoff(t *testing.T) {
	var got []time.Duration
	for n := range 9 {
		got = append(got, backoff(100*time.Millisecond, 10*time.Second, n)/time.Millisecond)
	}
	if want := []time.Duration{100, 200, 400, 800, 1600, 3200, 6400, 10000, 10000}; !reflect.DeepEqual(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if d := backoff(time.Second, time.Minute, math.MaxInt); d != time.Minute {
		t.Error(d)
	}
}

func TestStderr(t *testing.T) {
	var out bytes.Buffer
	l := &lineLog{log: slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug,
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}}))}
	in := `{"time":"2026-01-01T00:00:00Z","level":"WARN","msg":"slow","b":2,"a":"x"}
{"@level":"info","@message":"ready","@timestamp":"2026-01-01T00:00:00Z"}
{"level":"high","msg":"not ours"}
2026/01/01 [ERROR] broken
llama_model_loader: loaded meta data
` + strings.Repeat("y", maxLine+10) + `
panic: oh no

goroutine 1 [running]:
main.main()
a
b
c
`
	for b := []byte(in); len(b) > 0; { // in pieces
		n := min(7, len(b))
		if w, err := l.Write(b[:n]); w != n || err != nil {
			t.Fatal(w, err)
		}
		b = b[n:]
	}
	want := []string{"level=WARN msg=slow a=x b=2", "level=INFO msg=ready", `level=DEBUG msg="{\"level\":\"high\",\"msg\":\"not ours\"}"`,
		`level=ERROR msg="2026/01/01 [ERROR] broken"`, `level=DEBUG msg="llama_model_loader: loaded meta data"`,
		"level=DEBUG msg=" + strings.Repeat("y", maxLine), `level=ERROR msg="panic: oh no"`, `level=ERROR msg="goroutine 1 [running]:"`}
	for i, line := range strings.Split(out.String(), "\n") {
		if i < len(want) && line != want[i] {
			t.Errorf("line %d is %.200s, want %.200s", i, line, want[i])
		}
	}
	if got := l.last(); got != "panic: oh no | goroutine 1 [running]: | main.main() | a" {
		t.Errorf("the last lines are %q", got)
	}
}

// What a crash says first is what the error quotes, not the stacks and registers behind it.
func TestFirstLinesOfACrashAreKept(t *testing.T) {
	stack := strings.Repeat("rax 0x0\n", 20)
	for _, first := range []string{"panic: boom", "terminate called after throwing an instance of 'std::length_error'", "ggml.c:7: GGML_ASSERT(n > 0) failed", "SIGSEGV: segmentation violation"} {
		l := &lineLog{log: slog.New(slog.DiscardHandler)}
		_, _ = l.Write([]byte("loading\n" + first + "\nSIGABRT: abort\n" + stack))
		if got := l.last(); !strings.HasPrefix(got, first+" | SIGABRT: abort | rax") {
			t.Errorf("%s: %q", first, got)
		}
	}
}
