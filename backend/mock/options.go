package mock

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/outrider-llm/outrider/backend"
)

// options of the engine; defaults in defaultOptions.
type options struct {
	vocab, context      int
	sequences, kvTokens int
	vocabulary, name    string
	text                string // none or bytes
	seed                uint64
	agreement           float64
	second              float64
	spread              float64
	table               []float64 // of agreement, when spread is set
	endAfter, failAfter int
	panicAfter          int
	trees               bool

	load, step, sequence, position time.Duration
	failLoad                       string
}

func defaultOptions() options {
	return options{vocab: 32000, context: 4096, sequences: 8192, kvTokens: 16 << 20, name: "mock", agreement: 1, second: 0.5, trees: true}
}

// parse reads options by name; an unknown name is an error that lists the known ones.
func parse(in map[string]string) (options, error) {
	o := defaultOptions()
	set := map[string]func(string) error{
		"vocab":       whole(&o.vocab, 4, 1<<24),
		"context":     whole(&o.context, 2, 1<<24),
		"sequences":   whole(&o.sequences, 1, 1<<24),
		"kv_tokens":   whole(&o.kvTokens, 1, math.MaxInt32),
		"end_after":   whole(&o.endAfter, 0, math.MaxInt32),
		"fail_after":  whole(&o.failAfter, 0, math.MaxInt32),
		"panic_after": whole(&o.panicAfter, 0, math.MaxInt32),
		"agreement":   fraction(&o.agreement),
		"second":      fraction(&o.second),
		"spread": func(v string) (err error) {
			if o.spread, err = strconv.ParseFloat(v, 64); err == nil && !(o.spread >= 0 && o.spread <= 1000) {
				err = fmt.Errorf("must be between 0 and 1000")
			}
			return err
		},
		"step":       duration(&o.step),
		"sequence":   duration(&o.sequence),
		"position":   duration(&o.position),
		"load":       duration(&o.load),
		"vocabulary": text(&o.vocabulary),
		"name":       text(&o.name),
		"text": func(v string) error {
			if v != "none" && v != "bytes" {
				return fmt.Errorf("must be none or bytes")
			}
			o.text = v
			return nil
		},
		"fail_load": text(&o.failLoad),
		"trees": func(v string) (err error) {
			o.trees, err = strconv.ParseBool(v)
			return err
		},
		"seed": func(v string) (err error) {
			o.seed, err = strconv.ParseUint(v, 10, 64)
			return err
		},
	}
	for name, v := range in {
		f := set[name]
		if f == nil {
			known := make([]string, 0, len(set))
			for n := range set {
				known = append(known, n)
			}
			slices.Sort(known)
			return o, fmt.Errorf("%w: the mock engine has no option %q, only %s", backend.ErrLoad, name, strings.Join(known, ", "))
		}
		if err := f(v); err != nil {
			return o, fmt.Errorf("%w: option %s=%q of the mock engine: %w", backend.ErrLoad, name, v, err)
		}
	}
	o.table = Beta(o.agreement, o.spread)
	if o.vocabulary == "" {
		o.vocabulary = fmt.Sprintf("mock-%d", o.vocab)
	}
	return o, nil
}

func whole(p *int, least, most int) func(string) error {
	return func(v string) error {
		n, err := strconv.Atoi(v)
		if err != nil || n < least || n > most {
			return fmt.Errorf("must be a whole number between %d and %d", least, most)
		}
		*p = n
		return nil
	}
}

func fraction(p *float64) func(string) error {
	return func(v string) error {
		f, err := strconv.ParseFloat(v, 64)
		if err != nil || !(f >= 0 && f <= 1) {
			return fmt.Errorf("must be a number between 0 and 1")
		}
		*p = f
		return nil
	}
}

func duration(p *time.Duration) func(string) error {
	return func(v string) error {
		d, err := time.ParseDuration(v)
		if err != nil || d < 0 || d > time.Hour {
			return fmt.Errorf("must be a duration such as 40ms, at most 1h")
		}
		*p = d
		return nil
	}
}

func text(p *string) func(string) error {
	return func(v string) error { *p = v; return nil }
}
