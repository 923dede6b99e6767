package cloud

import (
	"context"
	"math"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/outrider-llm/outrider/backend"
	outriderv1 "github.com/outrider-llm/outrider/proto/outrider/v1"
)

func TestAdmissionIsBounded(t *testing.T) {
	r := start(t, newToy(), Config{MaxSessions: 2, Credit: 4})
	a, b := longSession(1, 8, 60), longSession(100, 8, 60)
	_ = r.opened(open(a, promptOf(a, 8), 60))
	sb := r.opened(open(b, promptOf(b, 8), 60))
	c := newNaive(t, open(200, promptOf(200, 8), 60))
	err := c.run(t.Context(), r.c)
	wantCode(t, err, codes.ResourceExhausted)
	if d := retryInfo(err); d < 100*time.Millisecond || d > 10*time.Second {
		t.Errorf("retry after %s", d)
	}
	o := open(a, promptOf(a, 8), 60) // a resume needs no new place
	o.Stream = 2
	_ = r.opened(o)
	_ = sb.CloseSend()
	lastCommit(t, sb)
	eventually(t, "a place is free", func() bool { return c.run(t.Context(), r.c) == nil })
	c.check()
}

func TestOpenTimeoutAndPlaces(t *testing.T) {
	r := start(t, newToy(), Config{MaxOpening: 1, OpenTimeout: 100 * time.Millisecond})
	silent := func() error {
		s, err := r.c.Decode(t.Context())
		if err != nil {
			return err
		}
		_, err = s.Recv()
		return err
	}
	first := make(chan error, 1)
	go func() { first <- silent() }()
	eventually(t, "the first holds the only place", func() bool { return len(r.opening) == 1 })
	if c := status.Code(silent()); c != codes.ResourceExhausted && c != codes.DeadlineExceeded {
		t.Errorf("the second ends with %s", c)
	}
	wantCode(t, <-first, codes.DeadlineExceeded)
	n := newNaive(t, open(1, promptOf(1, 8), 30))
	if err := n.run(t.Context(), r.c); err != nil {
		t.Fatal(err)
	}
	n.check()
}

func TestBadOpens(t *testing.T) {
	r := start(t, newToy(), Config{})
	for name, c := range map[string]struct {
		change func(*outriderv1.Open)
		code   codes.Code
		says   string
	}{
		"session":        {func(o *outriderv1.Open) { o.Session = []byte{1} }, codes.InvalidArgument, "16 bytes"},
		"vocabulary":     {func(o *outriderv1.Open) { o.Vocabulary = "other" }, codes.FailedPrecondition, "draft"},
		"vocabulary len": {func(o *outriderv1.Open) { o.Vocabulary = strings.Repeat("x", 1000) }, codes.InvalidArgument, "256"},
		"model":          {func(o *outriderv1.Open) { o.Model = strings.Repeat("m", 1500) }, codes.NotFound, "toy"},
		"empty":          {func(o *outriderv1.Open) { o.Tokens, o.PromptLength = nil, 0 }, codes.InvalidArgument, "empty"},
		"prompt length":  {func(o *outriderv1.Open) { o.PromptLength = 99 }, codes.InvalidArgument, "prompt_length"},
		"token":          {func(o *outriderv1.Open) { o.Tokens[2] = 50 }, codes.InvalidArgument, "vocabulary"},
		"huge token":     {func(o *outriderv1.Open) { o.Tokens[2] = 1<<32 - 1 }, codes.InvalidArgument, "vocabulary"},
		"too long": {func(o *outriderv1.Open) { o.Tokens = make([]uint32, 256); o.PromptLength = 256 },
			codes.InvalidArgument, "shorten"},
		"max length":  {func(o *outriderv1.Open) { o.MaxLength = 8 }, codes.InvalidArgument, "no room"},
		"temperature": {func(o *outriderv1.Open) { o.Sampling.Temperature = -1 }, codes.InvalidArgument, "temperature"},
		"stops":       {func(o *outriderv1.Open) { o.Stop = make([]string, 17) }, codes.InvalidArgument, "stop"},
		"empty stop":  {func(o *outriderv1.Open) { o.Stop = []string{""} }, codes.InvalidArgument, "stop"},
		"constraint": {func(o *outriderv1.Open) { o.Constraint = &outriderv1.Constraint{Kind: "xml"} },
			codes.InvalidArgument, "unknown"},
		"rule": {func(o *outriderv1.Open) { o.Rule = &outriderv1.Rule{Kind: 9} }, codes.InvalidArgument, "rejection"},
		"rule's threshold": {func(o *outriderv1.Open) {
			o.Rule = &outriderv1.Rule{Kind: outriderv1.RuleKind_RULE_KIND_LENIENT, Threshold: 7}
		}, codes.InvalidArgument, "between 0 and 1"},
		"rule of this engine": {func(o *outriderv1.Open) { o.Rule = &outriderv1.Rule{Kind: outriderv1.RuleKind_RULE_KIND_REJECTION} },
			codes.InvalidArgument, "no rule but coupled"},
		"logprobs": {func(o *outriderv1.Open) { o.Logprobs = 1 << 31 }, codes.InvalidArgument, "at most 21"},
		"patience": {func(o *outriderv1.Open) { o.RunAhead = &outriderv1.RunAhead{Patience: float32(math.NaN())} },
			codes.InvalidArgument, "patience is NaN"},
		"passes": {func(o *outriderv1.Open) { o.RunAhead = &outriderv1.RunAhead{MaxPassesPerToken: 2} },
			codes.InvalidArgument, "max_passes_per_token"},
	} {
		t.Run(name, func(t *testing.T) {
			o := open(1, promptOf(1, 8), 60)
			c.change(o)
			s, err := r.c.Decode(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if err := send(s, &outriderv1.DecodeRequest{Message: &outriderv1.DecodeRequest_Open{Open: o}}); err != nil {
				t.Fatal(err)
			}
			_, err = s.Recv()
			if m := status.Convert(err).Message(); status.Code(err) != c.code || !strings.Contains(m, c.says) || len(m) > 300 || strings.Contains(m, "\n") {
				t.Errorf("got %v, want %s with %q", err, c.code, c.says)
			}
		})
	}
	r.empty()
}

// A constraint is compiled before anything is run.
func TestBadConstraints(t *testing.T) {
	c := &Config{Targets: []Target{{Name: "toy", Model: newToy(), Bytes: func(backend.Token) []byte { return []byte("x") }}}}
	if err := c.defaults(); err != nil {
		t.Fatal(err)
	}
	for source, says := range map[string]string{`{"not":{}}`: "not supported", `{`: "not valid JSON", `{"enum":[]}`: "nothing can be valid", `{"type":"string"}`: ""} {
		o := open(1, promptOf(1, 8), 60)
		o.Constraint = &outriderv1.Constraint{Kind: "json_schema", Source: source}
		_, err := checkOpen(o, c.Targets[0], c.Targets[0].Model.Info(), c)
		if m := status.Convert(err).Message(); (err == nil) != (says == "") || !strings.Contains(m, says) {
			t.Errorf("%s: %v", source, err)
		}
		silent := c.Targets[0]
		silent.Bytes = nil
		if _, err := checkOpen(o, silent, silent.Model.Info(), c); status.Code(err) != codes.InvalidArgument {
			t.Errorf("without text: %v", err)
		}
		mute := c.Targets[0].Model.Info()
		mute.Constraints = false
		if _, err := checkOpen(o, c.Targets[0], mute, c); status.Code(err) != codes.InvalidArgument {
			t.Errorf("a model without text: %v", err)
		}
		if o.IgnoreEnd = true; says == "" {
			if _, err := checkOpen(o, c.Targets[0], c.Targets[0].Model.Info(), c); status.Code(err) != codes.InvalidArgument {
				t.Errorf("ignore_end: %v", err)
			}
		}
	}
}

func TestConfigNeedsTargets(t *testing.T) {
	for _, c := range []Config{{}, {Targets: []Target{{}}}, {Targets: []Target{{Name: "a"}}}} {
		if s, err := NewServer(c); err == nil {
			s.Close()
			t.Errorf("%v was taken", c.Targets)
		}
	}
}

// TestFinishedLog resumes a session whose log had already ended.
func TestFinishedLog(t *testing.T) {
	r := start(t, newToy(), Config{})
	o := open(1, promptOf(1, 20), 20)
	o.PromptLength = 10
	n := newNaive(t, o)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := n.run(ctx, r.c); err != nil || n.finish != outriderv1.Finish_FINISH_LENGTH {
		t.Fatalf("%v, finish %s; want length", err, n.finish)
	}
	r.empty()
}
