package simulate

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"
)

// ReadArrivals reads a trace of requests in the format of the Azure LLM inference traces (Splitwise,
// arXiv 2311.18677): a header, then TIMESTAMP,ContextTokens,GeneratedTokens. At most most requests are
// read (0: all); time runs speed times as fast. Prompts longer than maxPrompt are cut to it, as their
// prefix is taken to be cached (0: not cut).
func ReadArrivals(r io.Reader, most int, speed float64, maxPrompt int) ([]Arrival, error) {
	if !(speed > 0) {
		return nil, fmt.Errorf("%w: arrivals at %g times their speed", ErrConfig, speed)
	}
	in := csv.NewReader(r)
	in.FieldsPerRecord = 3
	if _, err := in.Read(); err != nil {
		return nil, fmt.Errorf("%w: the trace of arrivals has no header: %w", ErrConfig, err)
	}
	var out []Arrival
	var first time.Time
	for most == 0 || len(out) < most {
		f, err := in.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrConfig, err)
		}
		at, err := time.Parse("2006-01-02 15:04:05.9999999", f[0])
		prompt, err1 := strconv.Atoi(f[1])
		tokens, err2 := strconv.Atoi(f[2])
		if err = errors.Join(err, err1, err2); err != nil {
			line, _ := in.FieldPos(0)
			return nil, fmt.Errorf("%w: line %d of the trace: %w: want TIMESTAMP,ContextTokens,GeneratedTokens", ErrConfig, line, err)
		}
		if len(out) == 0 {
			first = at
		}
		if maxPrompt > 0 {
			prompt = min(prompt, maxPrompt)
		}
		out = append(out, Arrival{At: time.Duration(float64(at.Sub(first)) / speed), Prompt: max(1, prompt), Tokens: max(1, tokens)})
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%w: the trace holds no requests", ErrConfig)
	}
	return out, nil
}
