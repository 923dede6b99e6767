package main

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/outrider-llm/outrider/bench/load"
)

func newLoad() *cobra.Command {
	var c load.Config
	var asJSON bool
	var tenants []string
	mock := mockCloud{step: 20 * time.Millisecond, position: 10 * time.Microsecond}
	cmd := &cobra.Command{
		Use:   "load",
		Short: "Many scripted sessions at once against one cloud",
		Long: `Run many scripted sessions at once against one cloud and report tokens per second, ms/token, and of
the cloud process (through its admin address) CPU time per committed token, memory and goroutines
before, at most and after. Every session's tokens are compared with the target's.

Without --cloud a cloud process with a mock target is started for the run.`,
		Example: `  outrider bench load --sessions 2000
  outrider bench load --cloud gpu1:7600 --admin http://gpu1:7601 --sessions 200 --agreement 0.8`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := parseTenants(&c, tenants); err != nil {
				return err
			}
			if c.Cloud == "" {
				stop, err := startMockCloud(cmd, &c, mock)
				if err != nil {
					return err
				}
				defer stop()
			}
			r, err := load.Run(cmd.Context(), c)
			if err != nil {
				return err
			}
			fmt.Fprint(cmd.OutOrStdout(), r)
			if asJSON {
				if err := json.NewEncoder(cmd.OutOrStdout()).Encode(r); err != nil {
					return err
				}
			}
			if r.Failed > 0 || r.Mismatched > 0 {
				return fmt.Errorf("%d sessions failed (%s), %d differ from the target", r.Failed, r.FirstError, r.Mismatched)
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&c.Cloud, "cloud", "", "address of a running cloud; default: one with a mock target is started")
	f.StringVar(&c.Admin, "admin", "", "URL of that cloud's admin address; without it its process is not measured")
	f.StringVar(&c.Model, "model", "", "target's name; default: the cloud's first")
	f.IntVar(&c.Sessions, "sessions", 100, "sessions at once")
	f.IntVar(&c.Connections, "connections", 0, "connections that they share; 0: one per 500 sessions")
	f.IntVar(&c.Tokens, "max-tokens", 64, "tokens per session")
	f.IntVar(&c.Prompt, "prompt", 32, "tokens of each prompt")
	f.Float64Var(&c.Agreement, "agreement", 0.8, "how often a proposed token is the target's; negative: nothing is proposed")
	f.IntVar(&c.Depth, "depth", 8, "tokens proposed beyond the committed ones")
	f.DurationVar(&c.Ramp, "ramp", time.Second, "the sessions start within this time")
	f.StringSliceVar(&tenants, "tenants", nil, "NAME=SESSIONS of each tenant, instead of --sessions")
	f.DurationVar(&mock.step, "step", mock.step, "time of a step of the mock target")
	f.DurationVar(&mock.sequence, "sequence", 0, "more for each session in it")
	f.DurationVar(&mock.position, "position", mock.position, "more for each row")
	f.BoolVar(&asJSON, "json", false, "print the report as JSON on the last line")
	return cmd
}

// parseTenants reads NAME=SESSIONS.
func parseTenants(c *load.Config, tenants []string) error {
	for _, t := range tenants {
		name, count, _ := strings.Cut(t, "=")
		n, err := strconv.Atoi(count)
		if err != nil || n < 1 || name == "" {
			return usagef("--tenants takes NAME=SESSIONS such as a=100,b=1: it got %q", t)
		}
		c.Tenants, c.Sessions = append(c.Tenants, load.Tenant{Name: name, Sessions: n}), n
	}
	if len(c.Tenants) > 1 {
		c.Sessions = 0
		for _, t := range c.Tenants {
			c.Sessions += t.Sessions
		}
	}
	return nil
}

// mockCloud says what a step of the mock target costs, and what else the cloud is told.
type mockCloud struct {
	step, sequence, position time.Duration
	args                     []string
}

// startMockCloud starts a cloud process with a mock target that is large enough for the run.
func startMockCloud(cmd *cobra.Command, c *load.Config, m mockCloud) (stop func(), err error) {
	tmp, err := newScratch()
	if err != nil {
		return nil, err
	}
	s, err := startServer(cmd.Context(), tmp.dir, "cloud", append([]string{"--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--engine", "mock",
		"--option", "step=" + m.step.String(), "--option", "sequence=" + m.sequence.String(), "--option", "position=" + m.position.String(),
		"--option", fmt.Sprintf("sequences=%d", 2*c.Sessions), "--option", fmt.Sprintf("kv_tokens=%d", 2*c.Sessions*(c.Prompt+c.Tokens+16)),
		"--max-sessions", fmt.Sprint(c.Sessions + 1), "--log-level", "warn"}, m.args...)...)
	if err != nil {
		tmp.remove()
		return nil, err
	}
	c.Cloud, c.Admin = s.addr(), "http://"+s.admin()
	return func() {
		s.stop()
		tmp.remove()
	}, nil
}
