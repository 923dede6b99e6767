package reference

import (
	"encoding/binary"
	"math"
	"testing"

	"github.com/outrider-llm/outrider/gguf"
)

func TestHalf(t *testing.T) {
	for h, want := range map[uint16]float32{
		0: 0, 0x3C00: 1, 0xC000: -2, 0x3555: 0.33325195, 0x7BFF: 65504, 0x0001: 0x1p-24, 0x03FF: 1023 * 0x1p-24,
		0x0400: 0x1p-14, 0x7C00: float32(math.Inf(1)), 0xFC00: float32(math.Inf(-1)), 0x8000: float32(math.Copysign(0, -1)),
	} {
		got := half(binary.LittleEndian.AppendUint16(nil, h))
		if math.Float32bits(got) != math.Float32bits(want) {
			t.Errorf("%#04x is %g, want %g", h, got, want)
		}
	}
	if v := half([]byte{1, 0x7C}); v == v {
		t.Errorf("0x7C01 is %g, want NaN", v)
	}
}

// Each block is made from the numbers that it stands for, by ggml's layout written the other way round.
func TestDecoders(t *testing.T) {
	const d, dmin = 0.5, 0.25 // exact as halves
	dHalf, minHalf := []byte{0x00, 0x38}, []byte{0x00, 0x34}
	q := func(i, levels int) int { return (i*7 + i/5) % levels }
	for _, tc := range []struct {
		kind gguf.Type
		raw  func() []byte
		want func(i int) float32
		n    int
	}{
		{gguf.F32, func() (b []byte) {
			for i := range 3 {
				b = binary.LittleEndian.AppendUint32(b, math.Float32bits(float32(i)-0.5))
			}
			return b
		}, func(i int) float32 { return float32(i) - 0.5 }, 3},
		{gguf.F16, func() []byte { return []byte{0, 0x38, 0, 0xC0} }, func(i int) float32 { return []float32{0.5, -2}[i] }, 2},
		{gguf.BF16, func() []byte { return []byte{0x80, 0x3F, 0x20, 0xC0} }, func(i int) float32 { return []float32{1, -2.5}[i] }, 2},
		{gguf.Q8_0, func() (b []byte) {
			for blk := range 2 {
				b = append(b, dHalf...)
				for i := range 32 {
					b = append(b, byte(int8(q(blk*32+i, 256)-128)))
				}
			}
			return b
		}, func(i int) float32 { return d * float32(q(i, 256)-128) }, 64},
		{gguf.Q4_0, func() (b []byte) {
			for blk := range 2 {
				b = append(b, dHalf...)
				for i := range 16 {
					b = append(b, byte(q(blk*32+i, 16)|q(blk*32+i+16, 16)<<4))
				}
			}
			return b
		}, func(i int) float32 { return d * float32(q(i, 16)-8) }, 64},
		{gguf.Q4_K, func() (b []byte) {
			for blk := range 2 {
				var s [12]byte
				for g := range 8 { // get_scale_min_k4 of ggml-quants.c, backwards
					sc, m := byte(q(blk*8+g, 64)), byte(q(blk*8+g+3, 64))
					if g < 4 {
						s[g] |= sc
						s[g+4] |= m
					} else {
						s[g+4] |= sc&15 | m&15<<4
						s[g-4] |= sc >> 4 << 6
						s[g] |= m >> 4 << 6
					}
				}
				b = append(append(append(b, dHalf...), minHalf...), s[:]...)
				for g := 0; g < 8; g += 2 {
					for i := range 32 {
						b = append(b, byte(q(blk*256+g*32+i, 16)|q(blk*256+g*32+32+i, 16)<<4))
					}
				}
			}
			return b
		}, func(i int) float32 {
			g := i / 32 // groups are numbered on through the blocks
			return d*float32(q(g, 64))*float32(q(i, 16)) - dmin*float32(q(g+3, 64))
		}, 512},
		{gguf.Q6_K, func() (b []byte) {
			for blk := range 2 {
				low, high := make([]byte, 128), make([]byte, 64)
				for i := range 256 {
					v := byte(q(blk*256+i, 64))
					h, g, j := i/128, i%128/32, i%32 // half, group of 32, number
					low[h*64+g%2*32+j] |= v & 15 << (g / 2 * 4)
					high[h*32+j] |= v >> 4 << (2 * g)
				}
				b = append(append(b, low...), high...)
				for i := range 16 {
					b = append(b, byte(int8(q(blk*16+i, 256)-128)))
				}
				b = append(b, dHalf...)
			}
			return b
		}, func(i int) float32 { return d * float32(q(i/16, 256)-128) * float32(q(i, 64)-32) }, 512},
	} {
		t.Run(tc.kind.String(), func(t *testing.T) {
			decode, bytes, elements, err := decoderOf(tc.kind)
			if err != nil {
				t.Fatal(err)
			}
			raw, out := tc.raw(), make([]float32, tc.n)
			if len(raw) != tc.n/elements*bytes {
				t.Fatalf("%d bytes for %d numbers", len(raw), tc.n)
			}
			decode(out, raw)
			for i, v := range out {
				if v != tc.want(i) {
					t.Fatalf("number %d is %g, want %g", i, v, tc.want(i))
				}
			}
		})
	}
	for _, kind := range []gguf.Type{gguf.Q2_K, gguf.Q8_K, gguf.I32, 999} {
		if _, _, _, err := decoderOf(kind); err == nil {
			t.Errorf("%s has a decoder", kind)
		}
	}
}
