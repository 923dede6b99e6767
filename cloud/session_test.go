package cloud

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/outrider-llm/outrider/backend"
	outriderv1 "github.com/outrider-llm/outrider/proto/outrider/v1"
	"github.com/outrider-llm/outrider/speculative"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func wantCode(t *testing.T, err error, c codes.Code) {
	t.Helper()
	if status.Code(err) != c {
		t.Fatalf("got %v, want %s", err, c)
	}
}

func TestCoupledOutputIsTheTargets(t *testing.T) {
	m := newToy()
	m.step = 300 * time.Microsecond
	r := start(t, m, Config{})
	var accepted atomic.Int64
	var wg sync.WaitGroup
	for i := range uint64(40) {
		wg.Go(func() {
			n := newNaive(t, open(i, promptOf(i, 1+int(i%20)), 120))
			n.agree = float64(i%5) / 4
			n.quiet = i%10 == 9
			if i == 3 || i == 4 { // its proposals come before run-ahead, however slow this machine
				n.eager, n.open.RunAhead = true, &outriderv1.RunAhead{MaxPassesPerToken: 0.3}
			}
			if err := n.run(t.Context(), r.c); err != nil {
				t.Errorf("session %d: %v", i, err)
				return
			}
			n.check()
			if u := n.usage; u.GetAccepted() != uint64(n.fates[1]) || u.GetPasses() == 0 {
				t.Errorf("session %d: usage %v, fates %v", i, u, n.fates)
			}
			accepted.Add(int64(n.fates[1]))
		})
	}
	wg.Wait()
	if accepted.Load() == 0 {
		t.Error("nothing was accepted")
	}
	r.empty()
}

// TestCutsAndResumes cuts streams in mid-generation; they go on at the same server or at another one.
func TestCutsAndResumes(t *testing.T) {
	a, b := start(t, newToy(), Config{}), start(t, newToy(), Config{})
	var wg sync.WaitGroup
	for i := range uint64(24) {
		wg.Go(func() {
			n := newNaive(t, open(i, promptOf(i, 9), 150))
			for end := false; !end; n.open.Stream++ {
				ctx, cut := context.WithCancel(t.Context())
				at := len(n.log) + 1 + n.rng.IntN(25)
				n.onToken = func(length int) {
					if length >= at {
						cut()
					}
				}
				c := a.c
				if i%2 == 0 && n.resumes%2 == 1 {
					c = b.c
				}
				err := n.run(ctx, c)
				cut()
				if end = err == nil; !end && status.Code(err) != codes.Canceled {
					t.Errorf("session %d: %v", i, err)
					return
				}
				n.resumes++
			}
			n.check()
		})
	}
	wg.Wait()
}

// paused opens a session and leaves it once it has n tokens of text: its stream stays.
func paused(t *testing.T, r *rig, o *outriderv1.Open, tokens int) (n *naive, result chan error) {
	t.Helper()
	n = newNaive(t, o)
	n.deaf = true
	reached := make(chan struct{})
	var once sync.Once
	n.onToken = func(length int) {
		if length >= int(o.GetPromptLength())+tokens {
			once.Do(func() { close(reached) })
		}
	}
	result = make(chan error, 1)
	go func() { result <- n.run(t.Context(), r.c) }()
	select {
	case <-reached:
	case err := <-result:
		t.Fatalf("the session ended: %v", err)
	}
	return n, result
}

func TestNewerStreamFencesOlder(t *testing.T) {
	r := start(t, newToy(), Config{Credit: 16})
	id := longSession(3, 8, 100)
	prompt := promptOf(id, 8)
	old, result := paused(t, r, open(id, prompt, 100), 16)
	log := slices.Clone(prompt)
	o := open(id, prompt, 100)
	o.Stream = 2
	n := newNaive(t, o)
	if err := n.run(t.Context(), r.c); err != nil {
		t.Fatal(err)
	}
	n.check()
	wantCode(t, <-result, codes.Aborted)
	if !slices.Equal(old.log[:len(log)+16], n.log[:len(log)+16]) {
		t.Error("the two streams differ")
	}

	_, result = paused(t, r, open(id, prompt, 100), 16)
	late := newNaive(t, open(id, prompt, 100)) // the same incarnation once more
	wantCode(t, late.run(t.Context(), r.c), codes.Aborted)
	cancel := open(id, prompt, 20)
	cancel.Stream = 9
	if err := newNaive(t, cancel).run(t.Context(), r.c); err != nil {
		t.Fatal(err)
	}
	wantCode(t, <-result, codes.Aborted)
	r.empty()
}

// TestFenceWaitsForTheStepUnderWay resumes while the old incarnation's step runs in the model.
func TestFenceWaitsForTheStepUnderWay(t *testing.T) {
	m := newToy()
	r := start(t, m, Config{})
	id := longSession(5, 8, 60)
	gate, entered := make(chan struct{}), make(chan struct{}, 1000)
	m.setHook(func() {
		entered <- struct{}{}
		<-gate
	})
	ctx, cut := context.WithCancel(t.Context())
	first := make(chan error, 1)
	n := newNaive(t, open(id, promptOf(id, 8), 60))
	go func() { first <- n.run(ctx, r.c) }()
	<-entered // its prompt is in the model now
	cut()
	<-first
	o := open(id, promptOf(id, 8), 60)
	o.Stream = 2
	next := newNaive(t, o)
	second := make(chan error, 1)
	go func() { second <- next.run(t.Context(), r.c) }()
	time.Sleep(20 * time.Millisecond) // let it come to the fence; the result does not depend on it
	m.setHook(nil)
	close(gate)
	if err := <-second; err != nil {
		t.Fatal(err)
	}
	next.check()
	r.empty()
}

func TestResumeTakesRowsOver(t *testing.T) {
	r := start(t, newToy(), Config{Credit: 8})
	ctx, cut := context.WithCancel(t.Context())
	id := longSession(6, 30, 60)
	n := newNaive(t, open(id, promptOf(id, 30), 60))
	n.deaf, n.quiet = true, true
	n.onToken = func(length int) {
		if length == 38 {
			cut()
		}
	}
	_ = n.run(ctx, r.c)
	eventually(t, "the session is idle", func() bool { c, i := r.Sessions(); return c == 0 && i == 1 })
	s, err := r.c.Decode(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	o := open(id, n.log[:35], 60) // as if the last three had been lost on the way
	o.PromptLength, o.Stream = 30, 2
	if err := send(s, &outriderv1.DecodeRequest{Message: &outriderv1.DecodeRequest_Open{Open: o}}); err != nil {
		t.Fatal(err)
	}
	m, err := s.Recv()
	if err != nil || m.GetOpened().GetHeld() != 37 || !m.GetOpened().GetExact() {
		t.Fatalf("%v, %v: want 37 rows held", m, err)
	}
	if m, err = s.Recv(); err != nil || m.GetCommit().GetStart() != 35 || len(m.GetCommit().GetTokens()) != 3 {
		t.Fatalf("%v, %v: want the three tokens again", m, err)
	}
	_ = s.CloseSend()
	lastCommit(t, s)
	r.empty()
}

func TestCancelAndHalfCloseFreeAtOnce(t *testing.T) {
	for name, leave := range map[string]func(s decodeClient) error{
		"cancel": func(s decodeClient) error {
			return s.Send(&outriderv1.DecodeRequest{Message: &outriderv1.DecodeRequest_Cancel{Cancel: &outriderv1.Cancel{}}})
		},
		"half-close": func(s decodeClient) error { return s.CloseSend() },
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, newToy(), Config{Credit: 4})
			id := longSession(1, 8, 100)
			s := r.opened(open(id, promptOf(id, 8), 100))
			if err := leave(s); err != nil {
				t.Fatal(err)
			}
			if c := lastCommit(t, s); c.GetFinish() != outriderv1.Finish_FINISH_CANCELLED || c.GetUsage() == nil {
				t.Errorf("last commit %v, want cancelled with usage", c)
			}
			r.empty()
		})
	}
}

type decodeClient = interface {
	Send(*outriderv1.DecodeRequest) error
	Recv() (*outriderv1.DecodeResponse, error)
	CloseSend() error
}

// opened opens a session and waits until it is.
func (r *rig) opened(o *outriderv1.Open) decodeClient {
	r.t.Helper()
	s, err := r.c.Decode(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	if err := send(s, &outriderv1.DecodeRequest{Message: &outriderv1.DecodeRequest_Open{Open: o}}); err != nil {
		r.t.Fatal(err)
	}
	if m, err := s.Recv(); err != nil || m.GetOpened() == nil {
		r.t.Fatalf("%v, %v: want opened", m, err)
	}
	return s
}

func lastCommit(t *testing.T, s decodeClient) (last *outriderv1.Commit) {
	t.Helper()
	for {
		m, err := s.Recv()
		if err != nil {
			return last
		}
		last = m.GetCommit()
	}
}

func TestDeadline(t *testing.T) {
	r := start(t, newToy(), Config{Credit: 4})
	id := longSession(1, 8, 100)
	o := open(id, promptOf(id, 8), 100)
	o.DeadlineMs = 30
	if c := lastCommit(t, r.opened(o)); c.GetFinish() != outriderv1.Finish_FINISH_DEADLINE {
		t.Errorf("finish %s, want deadline", c.GetFinish())
	}
	r.empty()
}

func TestStopStrings(t *testing.T) {
	r := start(t, newToy(), Config{})
	id := longSession(4, 8, 100)
	o := open(id, promptOf(id, 8), 100)
	text := ""
	for _, v := range toyGenerate(id, promptOf(id, 8), 100) {
		text += string('a' + v%26)
	}
	o.Stop = []string{"never?", text[10:13]}
	n := newNaive(t, o)
	if err := n.run(t.Context(), r.c); err != nil {
		t.Fatal(err)
	}
	want := 13
	for i := range 10 {
		if text[i:i+3] == text[10:13] {
			want = i + 3
			break
		}
	}
	if n.finish != outriderv1.Finish_FINISH_STOP || len(n.generated()) != want {
		t.Errorf("finish %s after %d tokens, want stop after %d", n.finish, len(n.generated()), want)
	}
	r.empty()
}

func TestCreditStallsItselfOnly(t *testing.T) {
	m := newToy()
	r := start(t, m, Config{Credit: 8, StallTimeout: 300 * time.Millisecond})
	deaf, result := paused(t, r, open(longSession(2, 8, 200), promptOf(longSession(2, 8, 200), 8), 200), 8)
	n := newNaive(t, open(7, promptOf(7, 8), 120))
	if err := n.run(t.Context(), r.c); err != nil {
		t.Fatal(err)
	}
	n.check()
	wantCode(t, <-result, codes.Canceled) // the stall was noticed
	if got := len(deaf.generated()); got != 8 {
		t.Errorf("%d tokens without an acknowledgement, credit is 8", got)
	}
	deaf.deaf, deaf.onToken = false, nil
	deaf.open.Stream++
	if err := deaf.run(t.Context(), r.c); err != nil { // and it may go on later
		t.Fatal(err)
	}
	deaf.check()
	r.empty()
}

func TestRunAheadHeldBack(t *testing.T) {
	r := start(t, newToy(), Config{})
	id := longSession(8, 8, 11)
	o := open(id, promptOf(id, 8), 11)
	o.RunAhead = &outriderv1.RunAhead{MaxPassesPerToken: 0.25}
	n := newNaive(t, o)
	n.quiet = true
	begin := time.Now()
	if err := n.run(t.Context(), r.c); err != nil {
		t.Fatal(err)
	}
	n.check()
	if time.Since(begin) < 200*time.Millisecond {
		t.Error("run-ahead was not held back")
	}
}

func TestTargetProcessDies(t *testing.T) {
	m := newToy()
	r := start(t, m, Config{})
	stop := make(chan struct{})
	var wg, killer sync.WaitGroup
	killer.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(15 * time.Millisecond):
				m.kill()
				time.Sleep(5 * time.Millisecond)
				m.revive()
			}
		}
	})
	for i := range uint64(12) {
		wg.Go(func() {
			n := newNaive(t, open(i, promptOf(i, 9), 200))
			n.onToken = func(int) { time.Sleep(time.Millisecond) }
			if err := n.run(t.Context(), r.c); err != nil {
				t.Errorf("session %d: %v", i, err)
			}
			n.check()
		})
	}
	wg.Wait()
	close(stop)
	killer.Wait()
	r.empty()
}

// TestPoisonSession: a session on which the target crashes each time is ended, the others finish.
func TestPoisonSession(t *testing.T) {
	m := newToy()
	m.poison = func(log []backend.Token) bool { return slices.Contains(log, 48) && log[0] == 48 }
	r := start(t, m, Config{})
	var wg sync.WaitGroup
	for i := range uint64(6) {
		wg.Go(func() {
			prompt := promptOf(i, 9)
			if prompt[0] = 1; i == 0 {
				prompt[0] = 48
			}
			n := newNaive(t, open(i, prompt, 60))
			err := n.run(t.Context(), r.c)
			if i == 0 {
				if status.Code(err) != codes.Internal {
					t.Errorf("the poison session: %v, want Internal", err)
				}
				return
			}
			if err != nil {
				t.Errorf("session %d: %v", i, err)
			}
			n.check()
		})
	}
	wg.Wait()
}

// TestCancelDuringAStep: the rows are freed though they were in use when the client went away.
func TestCancelDuringAStep(t *testing.T) {
	m := newToy()
	r := start(t, m, Config{IdleTTL: time.Hour})
	gate, entered := make(chan struct{}), make(chan struct{}, 1000)
	m.setHook(func() {
		entered <- struct{}{}
		<-gate
	})
	s := r.opened(open(1, promptOf(1, 8), 100))
	<-entered
	if err := s.Send(&outriderv1.DecodeRequest{Message: &outriderv1.DecodeRequest_Cancel{Cancel: &outriderv1.Cancel{}}}); err != nil {
		t.Fatal(err)
	}
	if c := lastCommit(t, s); c.GetFinish() != outriderv1.Finish_FINISH_CANCELLED {
		t.Errorf("last commit %v, want cancelled", c)
	}
	eventually(t, "its handler is gone", func() bool { c, _ := r.Sessions(); return c == 0 })
	m.setHook(nil)
	close(gate)
	r.empty()
}

func TestOnlyWhatWasSentCanBeAcknowledged(t *testing.T) {
	s := &session{notify: make(chan struct{}, 1), out: outbox{sent: 9}, acked: 8,
		v: speculative.NewVerifier(speculative.VerifierConfig{PromptLength: 8, Ending: speculative.Ending{MaxLength: 60}}, promptOf(1, 12))}
	if err := s.handle(ackMsg(9), 1, 50, 32); err != nil {
		t.Error(err)
	}
	wantCode(t, s.handle(ackMsg(10), 1, 50, 32), codes.InvalidArgument)
}
