package media

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Formats of WAV files.
const (
	wavPCM        = 1
	wavFloat      = 3
	wavExtensible = 0xfffe
)

// wavFormat is the "fmt " chunk.
type wavFormat struct {
	tag, channels, block, bits uint16
	rate                       uint32
}

// ParseWAV reads a WAV file of 8 to 32 bits or floats, mixed down to mono. Sizes that the header claims
// count only as far as there are bytes, so that streams with placeholder sizes (espeak-ng's) are read and a claim of
// 1 GB allocates nothing. Errors wrap ErrMedia.
func ParseWAV(b []byte) (Sound, error) {
	if len(b) < 12 || string(b[:4]) != "RIFF" || string(b[8:12]) != "WAVE" {
		return Sound{}, fmt.Errorf("%w: not a WAV file: convert it first (ffmpeg -i IN -ar 16000 -ac 1 OUT.wav)", ErrMedia)
	}
	var f *wavFormat
	for rest := b[12:]; len(rest) >= 8; {
		id, size := string(rest[:4]), uint64(binary.LittleEndian.Uint32(rest[4:]))
		body := rest[8:]
		body = body[:min(size, uint64(len(body)))]
		switch id {
		case "fmt ":
			var err error
			if f, err = parseFormat(body); err != nil {
				return Sound{}, err
			}
		case "data":
			if f == nil {
				return Sound{}, fmt.Errorf("%w: the WAV file has samples before their format", ErrMedia)
			}
			return f.samples(body)
		}
		rest = rest[min(8+size+size%2, uint64(len(rest))):]
	}
	return Sound{}, fmt.Errorf("%w: the WAV file holds no samples", ErrMedia)
}

func parseFormat(b []byte) (*wavFormat, error) {
	if len(b) < 16 {
		return nil, fmt.Errorf("%w: the WAV file's format is cut short", ErrMedia)
	}
	u16 := binary.LittleEndian.Uint16
	f := &wavFormat{tag: u16(b), channels: u16(b[2:]), rate: binary.LittleEndian.Uint32(b[4:]), block: u16(b[12:]), bits: u16(b[14:])}
	if f.tag == wavExtensible && len(b) >= 26 {
		f.tag = u16(b[24:])
	}
	known := f.tag == wavPCM && (f.bits == 8 || f.bits == 16 || f.bits == 24 || f.bits == 32) || f.tag == wavFloat && f.bits == 32
	switch {
	case !known:
		return nil, fmt.Errorf("%w: WAV format %d with %d bits is not read: convert it to 16-bit PCM", ErrMedia, f.tag, f.bits)
	case f.channels < 1 || f.channels > 8:
		return nil, fmt.Errorf("%w: the WAV file has %d channels, 1 to 8 are read", ErrMedia, f.channels)
	case f.rate < 4000 || f.rate > 192000:
		return nil, fmt.Errorf("%w: the WAV file has %d samples a second, 4000 to 192000 are read", ErrMedia, f.rate)
	case f.block != f.channels*f.bits/8:
		return nil, fmt.Errorf("%w: the WAV file's header contradicts itself", ErrMedia)
	}
	return f, nil
}

func (f *wavFormat) samples(b []byte) (Sound, error) {
	n := len(b) / int(f.block)
	if s := float64(n) / float64(f.rate); s > MaxSound.Seconds() {
		return Sound{}, fmt.Errorf("%w: the recording is %.0f s long, at most %.0f s are taken", ErrMedia, s, MaxSound.Seconds())
	}
	out := Sound{Rate: int(f.rate), PCM: make([]int16, n)}
	width := int(f.bits / 8)
	for i := range out.PCM {
		frame, sum := b[i*int(f.block):], 0.0
		for c := range int(f.channels) {
			sum += f.value(frame[c*width:])
		}
		out.PCM[i] = clip(sum / float64(f.channels))
	}
	return out, nil
}

// value is a sample on the scale of 16 bits.
func (f *wavFormat) value(b []byte) float64 {
	switch {
	case f.tag == wavFloat:
		v := float64(math.Float32frombits(binary.LittleEndian.Uint32(b)))
		if math.IsNaN(v) {
			return 0
		}
		return max(-32768, min(32767, v*32768))
	case f.bits == 8:
		return float64(int(b[0])-128) * 256
	case f.bits == 16:
		return float64(int16(binary.LittleEndian.Uint16(b)))
	case f.bits == 24:
		return float64(int32(uint32(b[0])<<8|uint32(b[1])<<16|uint32(b[2])<<24)) / 65536
	}
	return float64(int32(binary.LittleEndian.Uint32(b))) / 65536
}

func clip(v float64) int16 { return int16(max(-32768, min(32767, math.Round(v)))) }

// WAV is the sound as a 16-bit WAV file.
func WAV(s Sound) []byte {
	data := s.Bytes()
	le := binary.LittleEndian
	b := append([]byte("RIFF"), 0, 0, 0, 0)
	le.PutUint32(b[4:], uint32(36+len(data)))
	b = append(b, "WAVEfmt "...)
	b = le.AppendUint32(b, 16)
	b = le.AppendUint16(b, wavPCM)
	b = le.AppendUint16(b, 1)
	b = le.AppendUint32(b, uint32(s.Rate))
	b = le.AppendUint32(b, uint32(2*s.Rate))
	b = le.AppendUint16(b, 2)
	b = le.AppendUint16(b, 16)
	b = append(b, "data"...)
	b = le.AppendUint32(b, uint32(len(data)))
	return append(b, data...)
}

// Resample brings the sound to another rate: means over the steps down, straight lines up. Enough for
// speech.
func Resample(s Sound, rate int) Sound {
	if s.Rate == rate || s.Rate <= 0 || rate <= 0 || len(s.PCM) == 0 {
		return Sound{Rate: rate, PCM: s.PCM}
	}
	n := int(int64(len(s.PCM)) * int64(rate) / int64(s.Rate))
	out := Sound{Rate: rate, PCM: make([]int16, n)}
	step := float64(s.Rate) / float64(rate)
	for i := range out.PCM {
		at := float64(i) * step
		if step > 1 {
			out.PCM[i] = mean(s.PCM, at, at+step)
			continue
		}
		k := min(int(at), len(s.PCM)-1)
		next := s.PCM[min(k+1, len(s.PCM)-1)]
		out.PCM[i] = clip(float64(s.PCM[k]) + (at-float64(k))*(float64(next)-float64(s.PCM[k])))
	}
	return out
}

// mean of the samples from a to b, which weigh by how much of them lies between.
func mean(pcm []int16, a, b float64) int16 {
	sum := 0.0
	for k := int(a); float64(k) < b && k < len(pcm); k++ {
		sum += float64(pcm[k]) * (min(b, float64(k+1)) - max(a, float64(k)))
	}
	return clip(sum / (b - a))
}
