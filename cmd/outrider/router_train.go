package main

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/outrider-llm/outrider/edge/router"
)

// learning are the flags of training and evaluation.
type learning struct {
	folds int
	by    string
	bits  int
	seed  uint64
}

func (l *learning) add(f *pflag.FlagSet) {
	f.IntVar(&l.folds, "folds", 5, "parts; each is scored by a model that was trained on the others")
	f.StringVar(&l.by, "by", "prompt", "how they are parted: prompt, or file (a CSV file's prompts stay together, so that no file is known)")
	f.IntVar(&l.bits, "bits", 14, "of the hash of words and pairs of words, where the texts are known; 0: words do not count")
	f.Uint64Var(&l.seed, "seed", 1, "of the order in which examples are learned from")
}

func (l *learning) check() error {
	if l.folds < 2 || l.folds > 100 || l.bits < 0 || l.bits > 18 || l.by != "prompt" && l.by != "file" {
		return usagef("--folds must be from 2 to 100, --bits from 0 to 18, --by prompt or file")
	}
	return nil
}

// training is without words where no example has text.
func (l *learning) training(examples []router.Example) router.Training {
	t := router.Training{Seed: l.seed}
	for _, e := range examples {
		if e.Text != "" {
			t.Bits = l.bits
			break
		}
	}
	return t
}

func (l *learning) scores(examples []router.Example) ([]float64, error) {
	s, err := router.CrossScores(examples, l.folds, l.by == "file", l.training(examples))
	if errors.Is(err, router.ErrExamples) {
		return nil, usagef("%w (there are %d)", err, len(examples))
	}
	return s, err
}

func newRouterTrain() *cobra.Command {
	var l learning
	var out string
	c := &cobra.Command{
		Use:   "train FILE...",
		Short: "Learn a score from recorded outcomes, or from labelled prompts",
		Long: `Learn how likely the draft's answer is good enough: by logistic regression over the facts of recorded
outcomes (edge.router.record writes them, as JSON lines), or over prompts with the worth of two
models' answers (CSV: prompt, weak, strong; True or False, or numbers from 0 to 1), of which words and
pairs of words count, too. Thresholds for the share of answers that are to need the cloud come from scores by models that have
not seen the example.`,
		Example: `  outrider router train outcomes.jsonl --out score.json
  OUTRIDER_EDGE_ROUTER_MODEL=score.json OUTRIDER_EDGE_ROUTER_SHARE=0.3 outrider edge --mode auto`,
		Args: someFiles,
		RunE: func(c *cobra.Command, args []string) error {
			examples, err := readExamples(args)
			if err == nil {
				err = l.check()
			}
			if err != nil {
				return err
			}
			scores, err := l.scores(examples)
			if err != nil {
				return err
			}
			m, err := router.Train(examples, l.training(examples))
			if err != nil {
				return err
			}
			m.Calibrate(scores)
			text, err := json.Marshal(m)
			if err == nil {
				err = os.WriteFile(out, append(text, '\n'), 0o600)
			}
			if err != nil {
				return err
			}
			return told(c.OutOrStdout(), m, router.CurveOf(examples, scores), out)
		},
	}
	l.add(c.Flags())
	c.Flags().StringVarP(&out, "out", "o", "score.json", "file of the model (edge.router.model)")
	return c
}

// told says what was learned.
func told(w io.Writer, m *router.Model, c router.Curve, out string) error {
	fmt.Fprintf(w, "%d examples; on examples not seen, it recovers %.3f of the gap on average over all shares of the cloud (random 0.5, oracle %.3f)\n",
		m.Examples, c.Area, c.OracleArea)
	for _, share := range []float64{0.1, 0.2, 0.3, 0.5, 0.7} {
		t, _ := m.Threshold(share)
		fmt.Fprintf(w, "share %.1f: score below %.3f\n", share, t)
	}
	_, err := fmt.Fprintf(w, "%s is written: set edge.router.model to it, and edge.router.share\n", out)
	return err
}

func someFiles(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return usagef("name at least one file of outcomes (.jsonl) or of labelled prompts (.csv) (see `%s --help`)", c.CommandPath())
	}
	return nil
}

// maxExamples bounds what is read.
const (
	maxExampleFile = 512 << 20 // bytes
	maxLine        = 1 << 20
)

// readExamples reads outcomes and labelled prompts.
func readExamples(paths []string) ([]router.Example, error) {
	var out []router.Example
	for _, path := range paths {
		text, err := readSmall(path, maxExampleFile)
		if err != nil {
			return nil, usageError{err}
		}
		read := readOutcomes
		if strings.EqualFold(filepath.Ext(path), ".csv") {
			read = readLabelled
		}
		examples, err := read(path, string(text))
		if err != nil {
			return nil, usageError{err}
		}
		out = append(out, examples...)
	}
	return out, nil
}

func readOutcomes(path, text string) ([]router.Example, error) {
	var out []router.Example
	s := bufio.NewScanner(strings.NewReader(text))
	s.Buffer(nil, maxLine)
	for n := 1; s.Scan(); n++ {
		if strings.TrimSpace(s.Text()) == "" {
			continue
		}
		var r router.Record
		if err := json.Unmarshal(s.Bytes(), &r); err != nil || r.Facts == nil || !(r.Agreement >= 0 && r.Agreement <= 1) {
			return nil, fmt.Errorf("%s:%d: this is no outcome: edge.router.record writes such files", path, n)
		}
		for _, e := range router.FromRecord(r) { // one outcome stays together
			e.Group = fmt.Sprintf("%s:%d", path, n)
			out = append(out, e)
		}
	}
	return out, s.Err()
}

func readLabelled(path, text string) ([]router.Example, error) {
	r := csv.NewReader(strings.NewReader(text))
	r.ReuseRecord = true
	if _, err := r.Read(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	var out []router.Example
	for {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		line, _ := r.FieldPos(0)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		if len(row) < 3 {
			return nil, fmt.Errorf("%s:%d: there must be three columns: prompt, worth of the weak answer, of the strong one", path, line)
		}
		weak, err := worth(row[1])
		strong, err2 := worth(row[2])
		if err != nil || err2 != nil {
			return nil, fmt.Errorf("%s:%d: %q and %q must be True, False or numbers from 0 to 1", path, line, row[1], row[2])
		}
		e := router.Example{Facts: router.TextFacts(row[0]), Text: strings.Clone(row[0]), Group: path, Weak: weak, Strong: strong}
		e.Facts["prompt.tokens"] = float64(len(row[0]) / 4)
		out = append(out, e)
	}
}

func worth(s string) (float64, error) {
	if b, err := strconv.ParseBool(s); err == nil {
		if b {
			return 1, nil
		}
		return 0, nil
	}
	v, err := strconv.ParseFloat(s, 64)
	if err == nil && !(v >= 0 && v <= 1) {
		err = strconv.ErrRange
	}
	return v, err
}
