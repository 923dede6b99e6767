package reference

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/outrider-llm/outrider/gguf"
)

// decoder turns the raw bytes of whole blocks into numbers; len(out) is a multiple of the block.
// The layouts are those of ggml's ggml-common.h.
type decoder func(out []float32, raw []byte)

// decoderOf returns the decoder of a tensor type and the bytes and elements of one block.
func decoderOf(t gguf.Type) (d decoder, bytes, elements int, err error) {
	switch t {
	case gguf.F32:
		return decodeF32, 4, 1, nil
	case gguf.F16:
		return decodeF16, 2, 1, nil
	case gguf.BF16:
		return decodeBF16, 2, 1, nil
	case gguf.Q8_0:
		return decodeQ8x0, 34, 32, nil
	case gguf.Q4_0:
		return decodeQ4x0, 18, 32, nil
	case gguf.Q4_K:
		return decodeQ4K, 144, 256, nil
	case gguf.Q6_K:
		return decodeQ6K, 210, 256, nil
	}
	return nil, 0, 0, fmt.Errorf("type %s is not supported by the reference engine (it reads F32, F16, BF16, Q8_0, Q4_0, Q4_K and Q6_K)", t)
}

func decodeF32(out []float32, raw []byte) {
	for i := range out {
		out[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
	}
}

func decodeBF16(out []float32, raw []byte) {
	for i := range out {
		out[i] = math.Float32frombits(uint32(binary.LittleEndian.Uint16(raw[2*i:])) << 16)
	}
}

func decodeF16(out []float32, raw []byte) {
	for i := range out {
		out[i] = half(raw[2*i:])
	}
}

// half reads an IEEE 754 binary16 number.
func half(raw []byte) float32 {
	h := uint32(binary.LittleEndian.Uint16(raw))
	sign, exp, frac := h>>15<<31, h>>10&0x1F, h&0x3FF
	switch exp {
	case 0: // zero or subnormal: frac * 2^-24
		v := float32(frac) * 0x1p-24
		return math.Float32frombits(math.Float32bits(v) | sign)
	case 0x1F:
		return math.Float32frombits(sign | 0x7F800000 | frac<<13)
	}
	return math.Float32frombits(sign | (exp+112)<<23 | frac<<13)
}

// decodeQ8x0: scale (half), 32 signed bytes.
func decodeQ8x0(out []float32, raw []byte) {
	for ; len(out) >= 32; out, raw = out[32:], raw[34:] {
		d, q := half(raw), raw[2:34]
		for i, v := range q {
			out[i] = d * float32(int8(v))
		}
	}
}

// decodeQ4x0: scale (half), 16 bytes whose low halves come first; 8 is zero.
func decodeQ4x0(out []float32, raw []byte) {
	for ; len(out) >= 32; out, raw = out[32:], raw[18:] {
		d, q := half(raw), raw[2:18]
		for i, v := range q {
			out[i] = d * float32(int(v&15)-8)
			out[i+16] = d * float32(int(v>>4)-8)
		}
	}
}

// decodeQ4K: scale and minimum (half), eight 6-bit scales and minimums in 12 bytes, 128 bytes of
// 4-bit numbers: each 32 bytes hold one group in their low halves and the next in their high ones.
func decodeQ4K(out []float32, raw []byte) {
	for ; len(out) >= 256; out, raw = out[256:], raw[144:] {
		d, dmin := half(raw), half(raw[2:])
		s := raw[4:16]
		for g := range 8 {
			var sc, m byte
			if g < 4 {
				sc, m = s[g]&63, s[g+4]&63
			} else {
				sc, m = s[g+4]&15|s[g-4]>>6<<4, s[g+4]>>4|s[g]>>6<<4
			}
			scale, floor := d*float32(sc), dmin*float32(m)
			q := raw[16+g/2*32:][:32]
			shift := g % 2 * 4
			o := out[g*32:][:32]
			for i, v := range q {
				o[i] = float32(scale*float32(v>>shift&15)) - floor
			}
		}
	}
}

// decodeQ6K: 128 bytes of low 4 bits, 64 of high 2 bits, 16 signed scales (one per 16 numbers),
// scale (half); 32 is zero. Half a block of 128 is four groups of 32 that share the same bytes.
func decodeQ6K(out []float32, raw []byte) {
	for ; len(out) >= 256; out, raw = out[256:], raw[210:] {
		d := half(raw[208:])
		for h := range 2 {
			low, high, scales := raw[h*64:][:64], raw[128+h*32:][:32], raw[192+h*8:][:8]
			o := out[h*128:][:128]
			for i := range 32 {
				hi := high[i]
				q := [4]int{
					int(low[i]&15 | hi&3<<4), int(low[i+32]&15 | hi>>2&3<<4),
					int(low[i]>>4 | hi>>4&3<<4), int(low[i+32]>>4 | hi>>6<<4),
				}
				for g, v := range q {
					o[g*32+i] = float32(d*float32(int8(scales[g*2+i/16]))) * float32(v-32)
				}
			}
		}
	}
}
