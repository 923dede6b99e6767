package cloud

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	outriderv1 "github.com/outrider-llm/outrider/proto/outrider/v1"
)

func as(ctx context.Context, tenant string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, TenantHeader, tenant)
}

// TestSessionsAreTheirTenants: another tenant's stream with a session's id neither fences it, nor takes it
// over, nor learns that it is there.
func TestSessionsAreTheirTenants(t *testing.T) {
	r := start(t, newToy(), Config{Identify: HeaderTenant, Credit: 8})
	id := longSession(1, 8, 60)
	prompt := promptOf(id, 8)
	mine, err := r.c.Decode(as(t.Context(), "a"))
	if err != nil {
		t.Fatal(err)
	}
	if err := send(mine, &outriderv1.DecodeRequest{Message: &outriderv1.DecodeRequest_Open{Open: open(id, prompt, 60)}}); err != nil {
		t.Fatal(err)
	}
	m, err := mine.Recv()
	if err != nil || m.GetOpened() == nil {
		t.Fatal(m, err)
	}
	o := open(id, prompt, 60)
	o.Stream = 7 // newer than the one that is open
	thief := newNaive(t, o)
	if err := thief.run(as(t.Context(), "b"), r.c); err != nil || thief.opened.GetHeld() != 0 {
		t.Fatalf("%v, %d rows held, want a session of its own", err, thief.opened.GetHeld())
	}
	thief.check()
	if c, _ := r.Sessions(); c != 1 {
		t.Errorf("%d sessions are connected, want the first one", c)
	}
	_ = mine.CloseSend()
	if c := lastCommit(t, mine); c.GetFinish() != outriderv1.Finish_FINISH_CANCELLED {
		t.Errorf("the first one ended by %s", c.GetFinish())
	}
}

func TestWhoIsNotKnownCallsNothing(t *testing.T) {
	var events []Event
	var mu sync.Mutex
	r := start(t, newToy(), Config{Identify: func(context.Context) (Peer, error) { return Peer{}, errors.New("who are you?") },
		Audit: func(e Event) { mu.Lock(); events = append(events, e); mu.Unlock() }})
	wantCode(t, newNaive(t, open(1, promptOf(1, 8), 30)).run(t.Context(), r.c), codes.Unauthenticated)
	_, err := r.c.ListModels(t.Context(), &outriderv1.ListModelsRequest{})
	wantCode(t, err, codes.Unauthenticated)
	_, err = r.c.DescribeModel(t.Context(), &outriderv1.DescribeModelRequest{})
	wantCode(t, err, codes.Unauthenticated)
	mu.Lock()
	defer mu.Unlock()
	if len(events) != 3 || events[0].Event != "denied" || events[0].Reason != "who are you?" || events[0].Remote == "" {
		t.Errorf("%+v", events)
	}
}

// TestPeerTakenBack: the streams of a peer that is no longer to be served end.
func TestPeerTakenBack(t *testing.T) {
	var bad atomic.Bool
	valid := func() error {
		if bad.Load() {
			return errors.New("taken back")
		}
		return nil
	}
	r := start(t, newToy(), Config{Credit: 4, Recheck: 5 * time.Millisecond, Identify: func(context.Context) (Peer, error) { return Peer{Tenant: "a", Valid: valid}, nil }})
	s := r.opened(open(longSession(1, 8, 60), promptOf(longSession(1, 8, 60), 8), 60))
	bad.Store(true)
	for {
		if _, err := s.Recv(); err != nil {
			if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "taken back") || retryInfo(err) == 0 {
				t.Error(err)
			}
			return
		}
	}
}

func TestQuotaSessionsAndContext(t *testing.T) {
	r := start(t, newToy(), Config{Identify: HeaderTenant, Credit: 4, Quotas: map[string]Quota{"small": {Sessions: 1, Context: 20}, AnyTenant: {Sessions: 2}}})
	run := func(tenant string, n uint64, prompt int) (*naive, error) {
		c := newNaive(t, open(n, promptOf(n, prompt), 60))
		return c, c.run(as(t.Context(), tenant), r.c)
	}
	c, err := run("small", 3, 8)
	if err != nil || len(c.log) > 20 {
		t.Errorf("%v, a log of %d tokens, at most 20 are allowed", err, len(c.log))
	}
	_, err = run("small", 4, 20)
	wantCode(t, err, codes.ResourceExhausted)
	if retryInfo(err) != 0 || !strings.Contains(err.Error(), "quota context") {
		t.Error(err)
	}
	id := longSession(1, 8, 60)
	for i, want := range []codes.Code{codes.OK, codes.OK, codes.ResourceExhausted} {
		s, err := r.c.Decode(as(t.Context(), "other"))
		if err != nil {
			t.Fatal(err)
		}
		o := open(id, promptOf(id, 8), 60)
		o.Session = testID(uint64(1000 + i))
		_ = send(s, &outriderv1.DecodeRequest{Message: &outriderv1.DecodeRequest_Open{Open: o}})
		_, err = s.Recv()
		if wantCode(t, err, want); want != codes.OK && (retryInfo(err) == 0 || !strings.Contains(err.Error(), "quota sessions") || !strings.Contains(err.Error(), "other")) {
			t.Error(err)
		}
	}
	if _, err := run("third", 5, 8); err != nil { // has its own
		t.Error(err)
	}
}

// TestQuotaTokens: a stream is cut when the tokens of a minute are used up, keeps its rows, and its resume
// is refused until there are some again; a prompt that is run again counts again.
func TestQuotaTokens(t *testing.T) {
	var events []Event
	var mu sync.Mutex
	r := start(t, newToy(), Config{Identify: HeaderTenant, Quotas: map[string]Quota{"a": {TokensPerMinute: 2000}},
		Audit: func(e Event) { mu.Lock(); events = append(events, e); mu.Unlock() }})
	account := r.accountOf("a")
	account.mu.Lock()
	account.level = 30 // a minute later or so
	account.mu.Unlock()
	id := longSession(1, 20, 60)
	c := newNaive(t, open(id, promptOf(id, 20), 60))
	err := c.run(as(t.Context(), "a"), r.c)
	wantCode(t, err, codes.ResourceExhausted)
	if d := retryInfo(err); d < 4*time.Second || d > 10*time.Second || !strings.Contains(err.Error(), "quota tokens_per_minute") {
		t.Errorf("retry after %s: %v", d, err)
	}
	if n := len(c.generated()); n < 8 || n > 30 {
		t.Errorf("%d tokens came of 10 that were left after the prompt", n)
	}
	c.open.Stream = 2
	wantCode(t, c.run(as(t.Context(), "a"), r.c), codes.ResourceExhausted)
	other := newNaive(t, open(77, promptOf(77, 8), 30))
	if err := other.run(as(t.Context(), "b"), r.c); err != nil {
		t.Error(err)
	}
	account.mu.Lock()
	account.level = 500
	account.mu.Unlock()
	c.open.Stream = 3
	if err := c.run(as(t.Context(), "a"), r.c); err != nil || c.opened.GetHeld() == 0 {
		t.Errorf("%v, %d rows held, want those of the first stream", err, c.opened.GetHeld())
	}
	c.check()
	mu.Lock()
	defer mu.Unlock()
	text, err := json.Marshal(events)
	if err != nil || len(events) < 6 || !strings.Contains(string(text), `"event":"resumed"`) || !strings.Contains(string(text), `"tenant":"a"`) {
		t.Errorf("%v: %s", err, text)
	}
	for _, e := range events {
		if e.Event == "ended" && e.Tenant == "a" && e.Committed == 0 {
			t.Errorf("%+v", e)
		}
	}
}

func (r *rig) accountOf(tenant string) *account { return r.Server.c.quotas.account(tenant) }

func TestQuotaRefills(t *testing.T) {
	a := &account{tenant: "a", Quota: Quota{TokensPerMinute: 600}, level: 600, at: time.Now()}
	if err := a.charge(600); err == nil || retryInfo(err) < 5*time.Second {
		t.Error(err)
	}
	a.at = a.at.Add(-time.Second) // ten more
	if err := a.charge(5); err != nil {
		t.Error(err)
	}
	if err := (*account)(nil).charge(1); err != nil {
		t.Error(err)
	}
	q := newQuotas(map[string]Quota{AnyTenant: {Sessions: 1}})
	for i := range 3 * maxAccounts {
		_ = q.account(string(rune(i + 1000)))
	}
	if n := len(q.accounts); n > maxAccounts {
		t.Errorf("%d accounts of names that nobody uses", n)
	}
}
