package engines

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/backend/reference"
	"github.com/outrider-llm/outrider/gguf"
	"github.com/outrider-llm/outrider/models"
	"github.com/outrider-llm/outrider/speculative"
)

// All binary16 numbers survive, what lies between rounds to the nearest.
func TestHalf(t *testing.T) {
	raw := make([]byte, 0, 1<<17)
	for h := range 1 << 16 {
		raw = binary.LittleEndian.AppendUint16(raw, uint16(h))
	}
	var file bytes.Buffer
	tensor := gguf.Tensor{Name: "t", Type: gguf.F16, Dims: []uint64{1 << 16}}
	if err := gguf.Write(&file, nil, []gguf.Data{{Tensor: tensor, Raw: raw}}); err != nil {
		t.Fatal(err)
	}
	f, err := gguf.NewReader(bytes.NewReader(file.Bytes()), int64(file.Len()))
	if err != nil {
		t.Fatal(err)
	}
	v, err := reference.Decode(f, f.Tensors()[0])
	if err != nil {
		t.Fatal(err)
	}
	for h, x := range v {
		if got := half(x); x == x && got != uint16(h) || x != x && got&0x7C00 != 0x7C00 {
			t.Fatalf("%#x is %g, which became %#x", h, x, got)
		}
	}
	for i := 1; i < 0x7BFF; i++ {
		a, b := v[i], v[i+1]
		even := uint16(i + i&1)
		middle := (a + b) / 2
		if half(middle) != even || half(math.Nextafter32(middle, 0)) != uint16(i) || half(math.Nextafter32(middle, 1e9)) != uint16(i+1) {
			t.Fatalf("between %g and %g", a, b)
		}
	}
	for x, want := range map[float32]uint16{65519: 0x7BFF, 65520: 0x7C00, 1e9: 0x7C00, -1e9: 0xFC00, 1e-9: 0} {
		if got := half(x); got != want {
			t.Fatalf("%g became %#x, want %#x", x, got, want)
		}
	}
}

// A copy in F32 says what the packed model says, bit by bit.
func TestConvertKeepsTheModel(t *testing.T) {
	_, path, err := prepare(models.DraftName, "f32", t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	a, err := reference.Load(t.Context(), models.DraftName, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer closeModel(a)
	b, err := reference.Load(t.Context(), path, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer closeModel(b)
	if x, y := a.Info(), b.Info(); x.Vocabulary != y.Vocabulary || x.ContextLength != y.ContextLength || !slices.Equal(x.EndTokens, y.EndTokens) || x.Name != y.Name {
		t.Fatalf("%+v became %+v", x, y)
	}
	x, err := greedy(t.Context(), a, []backend.Token{5, 300}, 40)
	if err != nil {
		t.Fatal(err)
	}
	if y, err := greedy(t.Context(), b, []backend.Token{5, 300}, 40); err != nil || !slices.Equal(x, y) {
		t.Fatalf("%v, %v", y, err)
	}
	if _, _, err := prepare(models.DraftName, "f8", t.TempDir()); err == nil || !strings.Contains(err.Error(), "f8") {
		t.Fatal(err)
	}
}

// off is an engine that chooses another token once the log has a certain length.
type off struct {
	backend.Model
	at int
}

func (o off) Forward(ctx context.Context, batch []backend.Segment) ([]backend.Result, error) {
	r, err := o.Model.Forward(ctx, batch)
	if err == nil && batch[0].Start+len(batch[0].Tokens) == o.at {
		last := &r[0].Choices[len(r[0].Choices)-1]
		last.Token, last.Second, last.Confidence = last.Second, last.Token, 0.6
	}
	return r, err
}

func TestCompareFindsTheFirstDifference(t *testing.T) {
	a, err := reference.Load(t.Context(), models.DraftName, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer closeModel(a)
	prompts := [][]backend.Token{{5, 300}, {5, 301, 302}, make([]backend.Token, 30)}
	p, err := Compare(t.Context(), a, off{a, 13}, prompts, 20)
	if err != nil {
		t.Fatal(err)
	}
	if p.Identical != 1 || len(p.Differ) != 2 || p.Differ[0].Position != 11 || p.Differ[1].Position != 10 {
		t.Fatalf("%+v", p)
	}
	if d := p.Differ[0]; d.Token == d.Other || math.Abs(d.OtherGap-math.Log(1.5)) > 1e-6 || p.Widest() > d.OtherGap+1e-9 {
		t.Fatalf("%+v, widest %g", d, p.Widest())
	}
	if g := gap(speculative.Choice{Confidence: 0.5}); g != 0 {
		t.Fatalf("gap %g", g)
	}
}

func TestRunAndPrint(t *testing.T) {
	broken := func(context.Context, string, map[string]string, func(float32)) (backend.Model, error) {
		return nil, errors.New("no such engine")
	}
	c := Config{First: reference.Load, Other: reference.Load, Models: []string{models.DraftName, filepath.Join(t.TempDir(), "none.gguf")},
		Types: []string{"f16", "file"}, Prompts: Stories(3), Tokens: 5, Rows: []int{1, 4}, Rounds: 2, Say: t.Logf}
	r, err := Run(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if len(r) != 4 || r[0].Parity.Identical != 3 || len(r[0].Speed) != 2 || !(r[1].Speed[1].Ratio > 0) || r[2].Error == "" {
		t.Fatalf("%+v", r)
	}
	c.Other = broken
	more, err := Run(t.Context(), c)
	if err != nil || more[0].Error != "no such engine" {
		t.Fatalf("%+v, %v", more, err)
	}
	var out strings.Builder
	if err := Print(&out, append(r, more...)); err != nil {
		t.Fatal(err)
	}
	t.Log("\n" + out.String())
	for _, want := range []string{"SCORE 4", "3 of 3", "no such engine"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q", want)
		}
	}
	if s := slices.Compact(slices.Sorted(slices.Values(Stories(100)))); len(s) != 100 {
		t.Errorf("%d different stories of 100", len(s))
	}
}
