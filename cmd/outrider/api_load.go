package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/outrider-llm/outrider/bench/load"
	"github.com/outrider-llm/outrider/models"
)

type apiLoadFlags struct {
	load.APIConfig
	admin     string
	agreement float64
	step      time.Duration
	asJSON    bool
}

func newAPILoad() *cobra.Command {
	var f apiLoadFlags
	c := &cobra.Command{
		Use:   "api",
		Short: "Many streaming clients at once against an edge's OpenAI API",
		Long: `Start a cloud with a mock target and an edge with a mock draft, as processes, and stream answers over
the edge's HTTP API to many clients at once (half of them chats, half completions). Besides them some
clients read slowly and some go away in mid-stream: those must cost nobody but themselves.

Reports time to first token, time per token, the longest wait for a token and the slowest client, and of
edge and cloud CPU time, memory and goroutines before, at most and after. It ends with an error when a
client failed or starved (waited longer than --starve for a token), or when goroutines are left over.

With --url an edge that runs already is used instead; --admin then measures it.`,
		Example: `  outrider bench api --clients 500
  outrider bench api --clients 100 --slow 50 --vanish 50 --json
  outrider bench api --url http://127.0.0.1:7780 --admin http://127.0.0.1:7701`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return runAPILoad(c, &f) },
	}
	s := c.Flags()
	s.StringVar(&f.URL, "url", "", "base URL of a running edge's API; default: an edge and a cloud are started")
	s.StringVar(&f.admin, "admin", "", "URL of that edge's admin address; without it its process is not measured")
	s.IntVar(&f.Clients, "clients", 100, "steady clients at once")
	s.IntVar(&f.Tokens, "tokens", 64, "tokens of each answer")
	s.IntVar(&f.Slow, "slow", 20, "clients besides that read slowly")
	s.IntVar(&f.SlowBytes, "slow-bytes", 20_000, "bytes a second that they read")
	s.IntVar(&f.Vanish, "vanish", 20, "clients besides that go away in mid-stream")
	s.DurationVar(&f.Starve, "starve", 10*time.Second, "a client that waits longer for a token starves")
	s.DurationVar(&f.Ramp, "ramp", time.Second, "the clients start within this time")
	s.DurationVar(&f.Settle, "settle", 10*time.Second, "how long the processes may take to calm down afterwards")
	s.Float64Var(&f.agreement, "agreement", 0.8, "how often the mock draft says what the mock target says")
	s.DurationVar(&f.step, "step", 20*time.Millisecond, "time of a step of the mock target")
	s.BoolVar(&f.asJSON, "json", false, "print the report as JSON on the last line")
	return c
}

func runAPILoad(c *cobra.Command, f *apiLoadFlags) error {
	if f.Clients < 1 || f.Tokens < 2 || f.Slow < 0 || f.Vanish < 0 || f.SlowBytes < 1 || !(f.agreement >= 0 && f.agreement <= 1) {
		return usagef("--clients and --slow-bytes must be at least 1, --tokens 2, --slow and --vanish 0, --agreement between 0 and 1")
	}
	if f.admin != "" {
		if f.URL == "" {
			return usagef("--admin is that of a running edge: name its API with --url")
		}
		f.Admins = map[string]string{"edge": f.admin}
	}
	if f.URL == "" {
		s, err := startMockStack(c, f)
		if err != nil {
			return err
		}
		defer s.stop()
		f.URL = "http://" + s.edge.http()
		f.Admins = map[string]string{"edge": "http://" + s.edge.admin(), "cloud": "http://" + s.cloud.admin()}
	}
	r, err := load.RunAPI(c.Context(), f.APIConfig)
	if err != nil {
		return err
	}
	fmt.Fprint(c.OutOrStdout(), r)
	if f.asJSON {
		if err := json.NewEncoder(c.OutOrStdout()).Encode(r); err != nil {
			return err
		}
	}
	return r.Check()
}

// startMockStack starts a cloud and an edge whose models are mocks, large enough for the run, that share
// the vocabulary of the embedded draft.
func startMockStack(c *cobra.Command, f *apiLoadFlags) (*stack, error) {
	tok, err := readTokenizer(models.DraftName)
	if err != nil {
		return nil, err
	}
	all := f.Clients + f.Slow + f.Vanish
	options := func(more map[string]string) []string {
		o := map[string]string{"vocab": fmt.Sprint(tok.Size()), "vocabulary": tok.Fingerprint(), "context": "2048",
			"sequences": fmt.Sprint(4*all + 64), "kv_tokens": fmt.Sprint(4 * (all + 16) * (f.Tokens + 128))}
		maps.Copy(o, more)
		args := []string{"--engine", "mock"}
		for _, k := range slices.Sorted(maps.Keys(o)) {
			args = append(args, "--option", k+"="+o[k])
		}
		return args
	}
	return startStack(c.Context(), stackConfig{draft: "mock",
		cloudArgs: append(options(map[string]string{"step": f.step.String(), "position": "10us"}), "--max-sessions", fmt.Sprint(all+8), "--log-level", "warn"),
		edgeArgs:  append(options(map[string]string{"agreement": fmt.Sprint(f.agreement), "step": "100us"}), "--log-level", "warn")})
}
