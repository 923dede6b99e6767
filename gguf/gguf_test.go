package gguf

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func sample(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	err := Write(&b, []KV{{"general.architecture", "llama"}, {"n", uint32(7)}, {"neg", int32(-3)}, {"f", float32(1.5)},
		{"yes", true}, {"words", []string{"a", "", "ccc"}}, {"scores", []float32{0, -1}}, {"types", []int32{1, -2}}},
		[]Data{{Tensor{Name: "x", Type: F32, Dims: []uint64{2, 3}}, make([]byte, 24)},
			{Tensor{Name: "q", Type: Q8_0, Dims: []uint64{32}}, bytes.Repeat([]byte{9}, 34)}})
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func parse(b []byte) (*File, error) { return NewReader(bytes.NewReader(b), int64(len(b))) }

func TestRoundTrip(t *testing.T) {
	f, err := parse(sample(t))
	if err != nil {
		t.Fatal(err)
	}
	if s, _ := f.String("general.architecture"); s != "llama" {
		t.Errorf("architecture %q", s)
	}
	if n, ok := f.Uint("n"); n != 7 || !ok {
		t.Errorf("n = %d, %v", n, ok)
	}
	if _, ok := f.Uint("neg"); ok {
		t.Error("a negative value passed as Uint")
	}
	if w, _ := f.Strings("words"); len(w) != 3 || w[2] != "ccc" {
		t.Errorf("words %q", w)
	}
	if v, _ := f.Ints("types"); len(v) != 2 || v[1] != -2 {
		t.Errorf("types %v", v)
	}
	q, ok := f.Tensor("q")
	if !ok {
		t.Fatal("no tensor q")
	}
	raw, err := f.ReadTensor(q)
	if err != nil || len(raw) != 34 || raw[33] != 9 {
		t.Errorf("q: %v %v", raw, err)
	}
}

func TestEveryTruncationIsAnError(t *testing.T) {
	b := sample(t)
	for n := range len(b) - 30 { // the last 30 bytes are padding
		if _, err := parse(b[:n]); !errors.Is(err, ErrTruncated) && !errors.Is(err, ErrNotGGUF) {
			t.Fatalf("cut at %d of %d: %v", n, len(b), err)
		}
	}
}

func TestBroken(t *testing.T) {
	b := sample(t)
	edit := func(at int, with ...byte) []byte {
		c := bytes.Clone(b)
		copy(c[at:], with)
		return c
	}
	dims := bytes.Index(b, []byte("\x01\x00\x00\x00\x00\x00\x00\x00x\x02\x00\x00\x00")) + 13
	for name, c := range map[string]struct {
		data []byte
		want error
	}{
		"empty":         {nil, ErrNotGGUF},
		"magic":         {edit(0, 'P', 'K'), ErrNotGGUF},
		"version":       {edit(4, 99), ErrUnsupported},
		"big endian":    {edit(4, 0, 0, 0, 3), ErrUnsupported},
		"keys":          {edit(16, 255, 255, 255, 255, 255), ErrCorrupt},
		"absurd tensor": {edit(dims, 255, 255, 255, 255, 255, 255, 255, 127), ErrCorrupt},
		"large tensor":  {edit(dims, 0, 0, 0, 0, 1), ErrTruncated},
	} {
		if _, err := parse(c.data); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func TestRealFiles(t *testing.T) {
	dir := os.Getenv("OUTRIDER_TEST_DATA")
	if dir == "" {
		dir = "../../shared/data"
	}
	files, _ := filepath.Glob(filepath.Join(dir, "*", "*.gguf"))
	if len(files) == 0 {
		t.Skip("no GGUF files in the test data: real files not read")
	}
	for _, name := range files {
		f, err := Open(name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, x := range f.Tensors() {
			if _, err := f.ReadTensor(x); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if a, ok := f.String("general.architecture"); !ok {
			t.Errorf("%s: no architecture %q", name, a)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(sample(f))
	f.Fuzz(func(t *testing.T, b []byte) {
		g, err := parse(b)
		if err != nil {
			return
		}
		for _, x := range g.Tensors() {
			if raw, err := g.ReadTensor(x); err != nil || uint64(len(raw)) != x.Size() {
				t.Fatalf("%s: %d bytes, %v", x.Name, len(raw), err)
			}
		}
	})
}
