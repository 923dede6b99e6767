package edge

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/outrider-llm/outrider/bench/link"
	outriderv1 "github.com/outrider-llm/outrider/proto/outrider/v1"
	"github.com/outrider-llm/outrider/speculative"
)

// talk is a conversation in tokens: each turn's prompt is what was said so far and something new.
type talk struct {
	r    *rig
	user string
	seed int
	log  []Token
}

func (k *talk) say(at func(int)) Summary {
	k.r.t.Helper()
	k.log = append(k.log, prompt(k.seed+len(k.log), 40)...)
	req := Request{Tokens: slices.Clone(k.log), User: k.user, MaxTokens: 30, IgnoreEnd: true, Params: speculative.Params{Seed: uint64(k.seed + len(k.log))}}
	c, s := k.r.generate(req, at)
	want := k.r.target.oracleOn(req.Params, req.Tokens, len(req.Tokens)+req.MaxTokens)
	if !slices.Equal(c.tokens, want) {
		k.r.t.Errorf("user %s: got %v, the target alone says %v", k.user, c.tokens, want)
	}
	k.log = append(k.log, c.tokens...)
	return s
}

// oracleOn is target-only decoding that goes on after the end token.
func (m *toy) oracleOn(p speculative.Params, prompt []Token, maxLength int) []Token {
	log := slices.Clone(prompt)
	for len(log) < maxLength {
		log = append(log, m.next(setupOf(p, prompt), log).Token)
	}
	return log[len(prompt):]
}

// TestTurns: both sides send and run only what is new.
func TestTurns(t *testing.T) {
	r := newRig(t, link.Config{RTT: 4 * time.Millisecond}, func(r *rig) { r.target.step = time.Millisecond })
	var wg sync.WaitGroup
	for i, user := range []string{"", "ann", "bob"} {
		wg.Go(func() {
			k := &talk{r: r, user: user, seed: 100 * i}
			for turn := range 5 {
				had := len(k.log)
				s := k.say(nil)
				if s.Prefix != had || s.Usage.Held != max(0, had-1) || s.Usage.Held+s.Usage.Prefilled != s.PromptTokens-1 || s.Resumes != 0 {
					t.Errorf("%s, turn %d on %d tokens: %d named, %d held, %d run, %d resumes", user, turn, had, s.Prefix, s.Usage.Held, s.Usage.Prefilled, s.Resumes)
				}
				// What the draft holds ends before the answer's last drafts were judged.
				if turn > 0 && (s.DraftHeld < had-20 || s.DraftHeld > had) {
					t.Errorf("%s, turn %d on %d tokens: the draft held %d", user, turn, had, s.DraftHeld)
				}
				if s.Opening > 220 {
					t.Errorf("%s, turn %d: %d bytes to open", user, turn, s.Opening)
				}
			}
		})
	}
	wg.Wait()
	r.empty()
	if n := r.edge.conversations.held(); n != 3 {
		t.Errorf("%d sequences of the draft are kept, want one a user", n)
	}
	_ = r.edge.Close()
	if n := r.draft.held(); n != 0 {
		t.Errorf("%d sequences of the draft are left after Close", n)
	}
}

// A user's turns get nothing out of another's, though they say the same.
func TestUsersShareNothing(t *testing.T) {
	r := newRig(t, link.Config{}, func(r *rig) { r.target.step = time.Millisecond })
	for _, user := range []string{"", "ann", "bob"} {
		k := &talk{r: r, user: user, seed: 7}
		for turn := range 2 {
			if s := k.say(nil); (s.Prefix > 0) != (turn > 0) || (s.Usage.Held > 0) != (turn > 0) || (s.DraftHeld > 0) != (turn > 0) {
				t.Errorf("%q, turn %d: %d named, %d held, the draft %d", user, turn, s.Prefix, s.Usage.Held, s.DraftHeld)
			}
		}
	}
	_, err := r.edge.Generate(t.Context(), Request{Prompt: "x", User: strings.Repeat("u", 257)}, (&collect{}).emit)
	wantError(t, err, ErrRequest)
}

// Whatever happens between or during turns costs time only.
func TestTurnsWithFaults(t *testing.T) {
	restart := func(r *rig) { r.cloud.kill(); r.cloud.start() }
	for name, f := range map[string]struct {
		between, during func(*rig)
		held            bool // by the target, in the second turn
		draftHeld       bool
		resumed         bool
	}{
		"cloud restarts":       {between: restart, draftHeld: true},
		"cloud restarts late":  {during: restart, held: true, draftHeld: true, resumed: true},
		"link breaks":          {between: func(r *rig) { r.link.Cut() }, held: true, draftHeld: true},
		"link breaks late":     {during: func(r *rig) { r.link.Cut() }, held: true, draftHeld: true, resumed: true},
		"draft dies":           {between: func(r *rig) { r.draft.kill(); r.draft.revive() }, held: true},
		"draft dies late":      {during: func(r *rig) { r.draft.kill(); r.draft.revive() }, held: true, draftHeld: true},
		"another edge, in all": {between: func(r *rig) { r.edge.conversations.secret[0] ^= 1 }, draftHeld: true},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, link.Config{RTT: 4 * time.Millisecond}, func(r *rig) { r.target.step = time.Millisecond })
			k := &talk{r: r, seed: 7}
			k.say(nil)
			if f.between != nil {
				f.between(r)
			}
			var once sync.Once
			s := k.say(func(n int) {
				if n > 8 && f.during != nil {
					once.Do(func() { f.during(r) })
				}
			})
			if (s.Usage.Held > 0) != f.held && f.during == nil || (s.Resumes > 0) != f.resumed || !s.Exact {
				t.Errorf("%d rows held, %d resumes, exact %v", s.Usage.Held, s.Resumes, s.Exact)
			}
			// The draft that lost its rows says so; the edge counts what it had counted on.
			if f.draftHeld && s.DraftHeld == 0 {
				t.Error("the draft held nothing")
			}
			if s = k.say(nil); s.Prefix == 0 || s.Usage.Held == 0 {
				t.Errorf("the turn after: %d named, %d held", s.Prefix, s.Usage.Held)
			}
			r.empty()
		})
	}
}

// TestConversationBounds: what is kept stays within its bounds, on both sides.
func TestConversationBounds(t *testing.T) {
	r := newRig(t, link.Config{}, func(r *rig) {
		r.config.Conversations, r.draft.info.Sequences, r.draft.info.KVTokens = 5, 6, 400
		r.target.info.Sequences, r.target.info.KVTokens = 6, 500
	})
	for i := range 12 {
		k := &talk{r: r, seed: 50 * i, user: string(rune('a' + i))}
		k.say(nil)
		r.edge.conversations.mu.Lock()
		n := len(r.edge.conversations.all)
		r.edge.conversations.mu.Unlock()
		if held := r.edge.conversations.held(); n > 5 || held > 3 {
			t.Errorf("%d conversations, %d sequences of the draft are kept", n, held)
		}
		eventually(t, "at most half of the draft's memory to be kept", func() bool { return r.draft.held() <= 3 })
		if n := r.target.held(); n > 4 {
			t.Errorf("the target holds %d sequences", n)
		}
	}
	r.empty()
}

// A new generation gets the memory that finished ones hold. On a machine that stalls it may end before that: then
// the next user's first is looked at.
func TestKeptRowsAreSpared(t *testing.T) {
	r := newRig(t, link.Config{RTT: time.Millisecond}, func(r *rig) {
		r.draft.info.Sequences, r.target.step = 1, time.Millisecond
	})
	users := 0
	for range 4 {
		eventually(t, "a new user's proposals to be accepted", func() bool {
			k := &talk{r: r, seed: 50 * users, user: strconv.Itoa(users)}
			users++
			return k.say(nil).Usage.Accepted > 0
		})
	}
	r.empty()
}

func TestConversationsOff(t *testing.T) {
	for side, off := range map[string]func(*rig){
		"edge":  func(r *rig) { r.config.Conversations = -1 },
		"cloud": func(r *rig) { r.cloud.config.Prefixes = -1 },
	} {
		r := newRig(t, link.Config{}, off)
		k := &talk{r: r, seed: 7}
		for range 3 {
			if s := k.say(nil); s.Prefix != 0 || s.Usage.Held != 0 || (side == "edge" && s.DraftHeld != 0) {
				t.Errorf("off at the %s: %d named, %d held, the draft %d", side, s.Prefix, s.Usage.Held, s.DraftHeld)
			}
		}
		if side == "edge" {
			eventually(t, "nothing kept", func() bool { return r.target.held() == 0 && r.draft.held() == 0 })
		}
	}
}

// TestRefusedPrefix: a cloud that knows no prefixes (an older one) gets the whole log, at once and
// once; one that never knows the log ends the request.
func TestRefusedPrefix(t *testing.T) {
	log := prompt(1, 40)
	for name, c := range map[string]struct {
		refusal error
		always  bool
	}{
		"old":     {refusal: status.Error(codes.InvalidArgument, "prompt_length is 40 with 0 tokens")},
		"unknown": {refusal: unknownPrefix(t)},
		"never":   {refusal: unknownPrefix(t), always: true},
	} {
		var opens []*outriderv1.Open
		e := scripted(t, func(n int, o *outriderv1.Open) ([]*outriderv1.DecodeResponse, error) {
			opens = append(opens, o)
			if o.GetPrefixLength() > 0 || (c.always && n > 1) {
				return nil, c.refusal
			}
			opened := openedMessage()
			opened.GetOpened().KeepMs = 60_000
			return []*outriderv1.DecodeResponse{opened, last(commitMessage(int(o.GetPromptLength()), 7), outriderv1.Finish_FINISH_LENGTH)}, nil
		})
		req := Request{Tokens: log, MaxTokens: 1}
		if _, err := e.Generate(t.Context(), req, (&collect{}).emit); err != nil {
			t.Fatal(err)
		}
		req.Tokens = append(slices.Clone(log), 7, 8, 9)
		begin := time.Now()
		s, err := e.Generate(t.Context(), req, (&collect{}).emit)
		if c.always {
			wantError(t, err, ErrRefused)
		} else if err != nil || s.Prefix != 0 || s.Resumes != 0 || time.Since(begin) > 2*time.Second {
			t.Errorf("%s: %v, %d named, %d resumes", name, err, s.Prefix, s.Resumes)
		}
		if len(opens) != 3 || opens[1].GetPrefixLength() != 41 || opens[2].GetPrefixLength() != 0 || len(opens[2].GetTokens()) != 43 {
			t.Errorf("%s: %d streams: %v", name, len(opens), opens)
		}
		_ = e.Close()
	}
}

func unknownPrefix(t *testing.T) error {
	st, err := status.New(codes.FailedPrecondition, "not kept").WithDetails(&errdetails.ErrorInfo{Reason: "PREFIX_UNKNOWN", Domain: "outrider"})
	if err != nil {
		t.Fatal(err)
	}
	return st.Err()
}

// TestRepeatedTurns: many turns at once of one user, from one beginning.
func TestRepeatedTurns(t *testing.T) {
	r := newRig(t, link.Config{RTT: time.Millisecond}, func(r *rig) { r.target.step = time.Millisecond })
	k := &talk{r: r, seed: 7}
	k.say(nil)
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() {
			again := &talk{r: r, seed: 7 + i, log: slices.Clone(k.log)}
			for range 2 {
				if s := again.say(nil); s.Prefix < 70 {
					t.Errorf("%d tokens named, all know 70", s.Prefix)
				}
			}
		})
	}
	wg.Wait()
	r.empty()
}

// TestCancelledConversation: what was read before the user stopped can be named.
func TestCancelledConversation(t *testing.T) {
	r := newRig(t, link.Config{RTT: time.Millisecond}, func(r *rig) { r.target.step = time.Millisecond })
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c := &collect{at: func(n int) {
		if n > 10 {
			cancel()
		}
	}}
	req := Request{Tokens: prompt(3, 40), MaxTokens: 400, IgnoreEnd: true}
	_, _ = r.edge.Generate(ctx, req, c.emit)
	eventually(t, "the cloud to keep the log", func() bool { n, _, _ := r.cloud.server.Prefixes(); return n == 1 })
	k := &talk{r: r, seed: 9, log: append(slices.Clone(req.Tokens), c.tokens...)}
	if s := k.say(nil); s.Prefix < 50 || s.Usage.Held < 49 {
		t.Errorf("%d named, %d held", s.Prefix, s.Usage.Held)
	}
}
