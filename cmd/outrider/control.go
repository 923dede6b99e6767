package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/outrider-llm/outrider/bench/load"
)

type controlFlags struct {
	sessions  []int
	rate      float64 // of each session
	duration  time.Duration
	agreement float64
	limit     time.Duration
	profile   string
	asJSON    bool
}

// controlReport is one size of the run.
type controlReport struct {
	load.Report
	Profile []load.Spent `json:"profile"`
}

func newControl() *cobra.Command {
	var f controlFlags
	c := &cobra.Command{
		Use:   "control",
		Short: "What the cloud's own work costs, by the number of open streams",
		Long: `Open many sessions at once against a cloud process whose mock target's rows cost nothing, each with
--rate tokens a second, and report what the cloud itself costs: CPU time per committed token, the
time that its scheduler takes per step, and where its CPU time goes, by package and by function.

The streams share connections, 500 on each, as those of an edge do that serves many users. The edges are
played by this process, whose CPU time is told apart; the model's process does next to nothing.
Every session's tokens are compared with the target's.`,
		Example: `  outrider bench control
  outrider bench control --sessions 1000,2000,5000,10000 --duration 10s`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return runControl(c, &f) },
	}
	s := c.Flags()
	s.IntSliceVar(&f.sessions, "sessions", []int{10000}, "sessions at once, one run for each number")
	s.Float64Var(&f.rate, "rate", 1, "tokens a second of each session")
	s.DurationVar(&f.duration, "duration", 20*time.Second, "of each run, about")
	s.Float64Var(&f.agreement, "agreement", 0.8, "how often a proposed token is the target's; negative: nothing is proposed")
	s.DurationVar(&f.limit, "limit", 0, "end with an error when the scheduler's p99 is longer; 0: no limit")
	s.StringVar(&f.profile, "cpu-profile", "", "keep the last run's CPU profile of the cloud in this file, for go tool pprof")
	s.BoolVar(&f.asJSON, "json", false, "print the reports as JSON, one per line")
	return c
}

func runControl(c *cobra.Command, f *controlFlags) error {
	if !(f.rate > 0) || f.duration < time.Second || !(f.agreement <= 1) {
		return usagef("--rate must be above 0, --duration at least 1s and --agreement at most 1")
	}
	var errs []error
	for _, n := range f.sessions {
		if n < 1 || n > 1e6 {
			return usagef("--sessions must be between 1 and 1000000")
		}
		r, err := controlRun(c, f, n)
		if err != nil {
			return err
		}
		if f.asJSON {
			err = json.NewEncoder(c.OutOrStdout()).Encode(r)
		} else {
			err = r.print(c.OutOrStdout())
		}
		if r.Failed+r.Mismatched > 0 {
			err = errors.Join(err, fmt.Errorf("of %d sessions %d failed (%s), %d differ from the target", n, r.Failed, r.FirstError, r.Mismatched))
		}
		if p99 := time.Duration(r.Schedule.P99 * float64(time.Millisecond)); f.limit > 0 && p99 > f.limit {
			err = errors.Join(err, fmt.Errorf("with %d sessions the scheduler took %v a step (p99), at most %v is allowed", n, p99, f.limit))
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// controlRun measures one number of sessions. The target's steps are as long as makes all
// sessions together have their rate.
func controlRun(c *cobra.Command, f *controlFlags, n int) (r controlReport, err error) {
	// A step has 512 rows, two for each session of 256: of the drafts each gets one judged.
	perPass := 1 + max(0, 0.5*f.agreement)
	lc := load.Config{Sessions: n, Prompt: 1, Tokens: max(4, int(f.rate*f.duration.Seconds())), Agreement: f.agreement, Depth: 4, Ramp: time.Second}
	step := time.Duration(min(256, float64(n)) * perPass / (f.rate * float64(n)) * float64(time.Second))
	tmp, err := newScratch()
	if err != nil {
		return r, err
	}
	defer tmp.remove()
	file := firstWord(f.profile, filepath.Join(tmp.dir, "cpu.pprof"))
	stop, err := startMockCloud(c, &lc, mockCloud{step: step, args: []string{"--cpu-profile", file}})
	if err != nil {
		return r, err
	}
	r.Report, err = load.Run(c.Context(), lc)
	stop() // which writes the profile
	if err != nil {
		return r, err
	}
	r.Profile, err = load.ReadProfile(file)
	return r, err
}

func (r *controlReport) print(w io.Writer) error {
	var b strings.Builder
	fmt.Fprint(&b, r.Report)
	for _, s := range r.Profile {
		fmt.Fprintf(&b, "%5.1f %%  %s\n", 100*s.Share, s.Name)
	}
	_, err := fmt.Fprintln(w, b.String())
	return err
}
