package main

import (
	"bytes"
	"math/rand/v2"
	"os"

	"github.com/outrider-llm/outrider/gguf"
	"github.com/outrider-llm/outrider/models"
)

// writeRandom writes a copy of an embedded model in which every matrix holds noise of the old
// matrix's scale: the same vocabulary and speed, and useless as a draft.
func writeRandom(path, name string) error {
	src, _ := models.Embedded(name)
	f, err := gguf.NewReader(bytes.NewReader(src), int64(len(src)))
	if err != nil {
		return err
	}
	out := bytes.Clone(src)
	rng := rand.New(rand.NewPCG(1, 2))
	for _, t := range f.Tensors() {
		if len(t.Dims) < 2 {
			continue
		}
		at := f.DataOffset(t)
		shuffle(out[at:at+int64(t.Size())], t, rng)
	}
	return os.WriteFile(path, out, 0o600)
}

// shuffle permutes the numbers of a tensor block by block, which keeps their distribution and
// destroys what was learnt; the scales of quantised blocks stay where they are.
func shuffle(raw []byte, t gguf.Tensor, rng *rand.Rand) {
	if t.Type == gguf.Q8_0 {
		for ; len(raw) >= 34; raw = raw[34:] {
			q := raw[2:34]
			rng.Shuffle(len(q), func(i, j int) { q[i], q[j] = q[j], q[i] })
			for i := range q {
				if rng.IntN(2) == 0 {
					q[i] = -q[i]
				}
			}
		}
		return
	}
	block := int(t.Size() / t.Elements()) // bytes of a number
	n := len(raw) / block
	rng.Shuffle(n, func(i, j int) {
		for k := range block {
			raw[i*block+k], raw[j*block+k] = raw[j*block+k], raw[i*block+k]
		}
	})
}
