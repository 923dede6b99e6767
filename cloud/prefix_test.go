package cloud

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/outrider-llm/outrider/backend"
	outriderv1 "github.com/outrider-llm/outrider/proto/outrider/v1"
)

// talk is a conversation: each turn's prompt is the log so far and something new.
type talk struct {
	r    *rig
	key  []byte
	seed uint64
	log  []backend.Token
	turn uint64
}

func newTalk(r *rig, user byte, seed uint64) *talk {
	key := make([]byte, prefixKeyBytes)
	key[0] = user
	return &talk{r: r, key: key, seed: seed, log: promptOf(seed, 20)}
}

// next prepares a turn of n new prompt tokens and up to m generated ones, the known log named.
func (k *talk) next(n, m int) *naive {
	k.turn++
	named := len(k.log)
	if k.turn == 1 {
		named = 0
	} else {
		k.log = append(k.log, promptOf(k.seed+k.turn, n)...)
	}
	o := open(k.seed, k.log, len(k.log)+m)
	o.Session, o.PrefixKey = testID(k.seed<<16|k.turn), k.key
	o.Sampling.Seed = k.seed + k.turn // another setup on the same rows
	c := newNaive(k.r.t, o)
	c.name = named
	return c
}

// say runs a turn and checks it; a log that is not known is sent whole.
func (k *talk) say(n, m int) *naive {
	k.r.t.Helper()
	c := k.next(n, m)
	err := c.run(k.r.t.Context(), k.r.c)
	if unknown(err) {
		c.name = 0
		c.open.Stream++
		err = c.run(k.r.t.Context(), k.r.c)
	}
	if err != nil {
		k.r.t.Fatalf("turn %d: %v", k.turn, err)
	}
	c.check()
	k.log = c.log
	return c
}

func unknown(err error) bool {
	for _, d := range status.Convert(err).Details() {
		if i, ok := d.(*errdetails.ErrorInfo); ok && i.GetReason() == "PREFIX_UNKNOWN" {
			return status.Code(err) == codes.FailedPrecondition
		}
	}
	return false
}

// TestTurns: a turn sends and runs only what is new, whatever the proposals were like (trees leave
// rows that are not in order).
func TestTurns(t *testing.T) {
	r := start(t, newToy(), Config{})
	var wg sync.WaitGroup
	for user := range byte(8) {
		wg.Go(func() {
			k := newTalk(r, user, 100*uint64(user)+1)
			for turn := range 5 {
				had := len(k.log)
				c := k.say(7, 25)
				held, prefilled := int(c.opened.GetHeld()), int(c.usage.GetPrefilled())
				want := 0
				if turn > 0 {
					want = had - 1 // its last token has no row yet
				}
				if held != want || int(c.usage.GetHeld()) != held || held+prefilled != int(c.open.GetPromptLength())-1 {
					t.Errorf("turn %d on %d tokens: %d held, want %d, %d run; usage %v", turn, had, held, want, prefilled, c.usage)
				}
				if turn > 0 && len(c.open.GetTokens()) != 7 || c.opened.GetKeepMs() != 600_000 {
					t.Errorf("turn %d sent %d tokens, kept for %d ms", turn, len(c.open.GetTokens()), c.opened.GetKeepMs())
				}
			}
		})
	}
	wg.Wait()
	r.empty()
	if logs, seqs, rows := r.Prefixes(); logs != 8 || seqs != 8 || rows < 8*100 {
		t.Errorf("%d logs with %d sequences of %d rows are kept, want 8 conversations", logs, seqs, rows)
	}
}

// TestPrefixWithoutName: the rows are found also when the edge sends the whole log, also from an
// earlier point on: an answer is asked for again.
func TestPrefixWithoutName(t *testing.T) {
	r := start(t, newToy(), Config{})
	k := newTalk(r, 1, longSession(7, 20, 50))
	k.say(0, 30)
	c := k.next(5, 20)
	c.name = 0
	if err := c.run(t.Context(), r.c); err != nil || c.opened.GetHeld() != 49 {
		t.Fatalf("%v, %d rows held, want 49", err, c.opened.GetHeld())
	}
	c.check()
	again := k.next(0, 30)
	again.log, again.open.PromptLength, again.name = again.log[:40:40], 40, 40
	if err := again.run(t.Context(), r.c); err != nil || again.opened.GetHeld() != 39 {
		t.Fatalf("%v, %d rows held, want 39", err, again.opened.GetHeld())
	}
	again.check()
	short := k.next(0, 30) // less than half of the kept rows: they stay with their conversation
	short.log, short.open.PromptLength, short.name = short.log[:4:4], 4, 4
	if err := short.run(t.Context(), r.c); err != nil || short.opened.GetHeld() != 0 {
		t.Fatalf("%v, %d rows held, want none", err, short.opened.GetHeld())
	}
	short.check()
}

// TestPrefixOfAnother: whoever does not know the key learns nothing and gets nothing, and neither does
// another tenant.
func TestPrefixOfAnother(t *testing.T) {
	var mu sync.Mutex
	who := "a"
	r := start(t, newToy(), Config{Identify: func(context.Context) (Peer, error) { mu.Lock(); defer mu.Unlock(); return Peer{Tenant: who}, nil }})
	k := newTalk(r, 1, longSession(7, 20, 60))
	k.say(0, 40)
	for name, change := range map[string]func(*naive){
		"key":       func(c *naive) { c.open.PrefixKey = slices.Clone(k.key); c.open.PrefixKey[15] ^= 1 },
		"tenant":    func(*naive) { mu.Lock(); who = "b"; mu.Unlock() },
		"too long":  func(c *naive) { c.name = len(c.log) },
		"a guess":   func(c *naive) { c.log[30]++ },
		"first one": func(c *naive) { c.log[0] = 48 },
	} {
		c := k.next(5, 20)
		c.log = slices.Clone(c.log)
		change(c)
		if err := c.run(t.Context(), r.c); !unknown(err) {
			t.Errorf("%s: got %v, want an unknown prefix", name, err)
		}
		c.name, c.open.Stream = 0, 2
		if name != "too long" && name != "a guess" { // those begin with what is their own
			if err := c.run(t.Context(), r.c); err != nil || c.opened.GetHeld() != 0 {
				t.Errorf("%s: %v, %d rows held, want none", name, err, c.opened.GetHeld())
			}
		}
		mu.Lock()
		who = "a"
		mu.Unlock()
	}
}

func TestMalformedPrefix(t *testing.T) {
	r := start(t, newToy(), Config{})
	key, hash := make([]byte, 16), make([]byte, 16)
	for name, c := range map[string]struct {
		change func(*outriderv1.Open)
		says   string
	}{
		"short key":  {func(o *outriderv1.Open) { o.PrefixKey = key[:15] }, "prefix_key must be 16 bytes"},
		"long key":   {func(o *outriderv1.Open) { o.PrefixKey = make([]byte, 17) }, "prefix_key must be 16 bytes"},
		"no key":     {func(o *outriderv1.Open) { o.PrefixLength, o.PrefixHash = 4, hash }, "without prefix_key"},
		"no hash":    {func(o *outriderv1.Open) { o.PrefixKey, o.PrefixLength = key, 4 }, "prefix_hash must be 16 bytes"},
		"short hash": {func(o *outriderv1.Open) { o.PrefixKey, o.PrefixLength, o.PrefixHash = key, 4, hash[:8] }, "prefix_hash must be 16 bytes"},
		"only hash":  {func(o *outriderv1.Open) { o.PrefixKey, o.PrefixHash = key, hash }, "without prefix_length"},
		"too long":   {func(o *outriderv1.Open) { o.PrefixKey, o.PrefixLength, o.PrefixHash = key, 250, hash }, "the context of toy holds 256"},
		"huge":       {func(o *outriderv1.Open) { o.PrefixKey, o.PrefixLength, o.PrefixHash = key, 1<<32-1, hash }, "the context of toy holds 256"},
	} {
		o := open(1, promptOf(1, 8), 60)
		c.change(o)
		s, err := r.c.Decode(t.Context())
		if err == nil {
			_ = send(s, &outriderv1.DecodeRequest{Message: &outriderv1.DecodeRequest_Open{Open: o}})
			_, err = s.Recv()
		}
		if status.Code(err) != codes.InvalidArgument || !strings.Contains(status.Convert(err).Message(), c.says) {
			t.Errorf("%s: got %v, want %q", name, err, c.says)
		}
	}
	r.empty()
}

// TestPrefixesUnderPressure: many conversations take turns in a memory that holds few of their rows;
// none ever waits for rows of finished sessions, and all outputs are exact.
func TestPrefixesUnderPressure(t *testing.T) {
	for _, c := range []struct{ rows, sequences int }{{400, 1000}, {100000, 4}, {250, 3}} {
		t.Run(fmt.Sprintf("%d rows, %d sequences", c.rows, c.sequences), func(t *testing.T) {
			m := newToy()
			m.info.KVTokens, m.info.Sequences = c.rows, c.sequences
			r := start(t, m, Config{Credit: 12})
			var wg sync.WaitGroup
			for user := range byte(12) {
				wg.Go(func() {
					k := newTalk(r, user%5, 50*uint64(user)+3)
					for range 4 {
						k.say(int(user), 20)
					}
				})
			}
			wg.Wait()
			r.empty()
			if _, seqs, rows := r.Prefixes(); seqs > max(1, c.sequences/2) || rows > c.rows/2 {
				t.Errorf("%d sequences of %d rows are kept", seqs, rows)
			}
		})
	}
}

func TestPrefixBounds(t *testing.T) {
	r := start(t, newToy(), Config{Prefixes: 10, PrefixTokens: 300})
	for user := range byte(20) {
		newTalk(r, user, 50*uint64(user)+3).say(0, 10)
		l, err := r.find("toy", "", nil)
		if err != nil {
			t.Fatal(err)
		}
		l.mu.Lock()
		logs, tokens, keys := l.prefixes.age.Len(), l.prefixes.tokens, len(l.prefixes.byKey)
		l.mu.Unlock()
		if logs > 10 || tokens > 300 || keys != logs {
			t.Fatalf("%d logs of %d tokens under %d keys are kept", logs, tokens, keys)
		}
	}
	for i := range uint64(2 * maxKeyPrefixes) {
		newTalk(r, 77, 1000+i*9).say(0, 3)
		if logs, _, _ := r.Prefixes(); logs > 10 {
			t.Fatalf("%d logs are kept", logs)
		}
	}
	r.toyLoop().mu.Lock()
	defer r.toyLoop().mu.Unlock()
	for k, of := range r.toyLoop().prefixes.byKey {
		if len(of) > maxKeyPrefixes {
			t.Errorf("%d logs are kept of key %x", len(of), k.key)
		}
	}
}

func TestPrefixesExpire(t *testing.T) {
	r := start(t, newToy(), Config{PrefixTTL: 50 * time.Millisecond})
	k := newTalk(r, 1, 7)
	k.say(0, 10)
	eventually(t, "nothing kept", func() bool {
		logs, _, _ := r.Prefixes()
		n, _ := r.toy.held()
		return logs == 0 && n == 0
	})
	if err := k.next(5, 10).run(t.Context(), r.c); !unknown(err) {
		t.Errorf("got %v, want an unknown prefix", err)
	}
}

func TestPrefixesOff(t *testing.T) {
	r := start(t, newToy(), Config{Prefixes: -1})
	k := newTalk(r, 1, 7)
	if c := k.say(0, 10); c.opened.GetKeepMs() != 0 {
		t.Errorf("it promises to keep for %d ms", c.opened.GetKeepMs())
	}
	if err := k.next(5, 10).run(t.Context(), r.c); !unknown(err) {
		t.Errorf("got %v, want an unknown prefix", err)
	}
	r.empty()
}

// TestPrefixOutlivesModel: the process dies between turns; the log can still be named, its rows are
// run again.
func TestPrefixOutlivesModel(t *testing.T) {
	m := newToy()
	r := start(t, m, Config{})
	k := newTalk(r, 1, longSession(7, 20, 60))
	k.say(0, 40)
	m.kill()
	m.revive()
	eventually(t, "no rows", func() bool { _, _, rows := r.Prefixes(); r.toyLoop().poke(); return rows == 0 })
	c := k.next(5, 20)
	if err := c.run(t.Context(), r.c); err != nil || c.opened.GetHeld() != 0 || c.usage.GetPrefilled() != 64 {
		t.Fatalf("%v, %d rows held, %d run, want none and 64", err, c.opened.GetHeld(), c.usage.GetPrefilled())
	}
	c.check()
	m.kill() // and unnoticed: the rows are missed in the step only
	m.revive()
	k.log = c.log
	k.say(5, 20)
}

// TestCutTurns: streams are cut in the middle of turns that began with a named prefix and resumed by
// name or whole.
func TestCutTurns(t *testing.T) {
	m := newToy()
	m.step = 200 * time.Microsecond
	r := start(t, m, Config{})
	var wg sync.WaitGroup
	for user := range byte(8) {
		wg.Go(func() {
			k := newTalk(r, user, 100*uint64(user)+1)
			for range 4 {
				c := k.next(7, 30)
				cuts := 0
				for ; ; c.open.Stream++ {
					ctx, cut := context.WithCancel(t.Context())
					at := len(c.log) + 1 + c.rng.IntN(12)
					c.onToken = func(n int) {
						if n >= at && cuts < 3 {
							cuts++
							cut()
						}
					}
					err := c.run(ctx, r.c)
					cut()
					if err == nil {
						break
					}
					if unknown(err) { // its session had ended meanwhile, and its log was pushed out
						c.name = 0
						continue
					}
					if status.Code(err) != codes.Canceled {
						t.Errorf("user %d: %v", user, err)
						return
					}
					if c.name = len(c.log); user%2 == 1 {
						c.name = 0
					}
				}
				c.check()
				k.log = c.log
			}
		})
	}
	wg.Wait()
	r.empty()
}

// TestCancelledTurn: what a user cancelled is kept, too.
func TestCancelledTurn(t *testing.T) {
	r := start(t, newToy(), Config{Credit: 16})
	k := newTalk(r, 1, longSession(7, 20, 100))
	c := k.next(0, 80)
	s := r.opened(c.open)
	eventually(t, "all of the credit is used", func() bool {
		r.toyLoop().mu.Lock()
		defer r.toyLoop().mu.Unlock()
		for _, o := range r.toyLoop().sessions {
			return len(o.v.Log()) == 36 && !o.busy
		}
		return false
	})
	if err := s.Send(&outriderv1.DecodeRequest{Message: &outriderv1.DecodeRequest_Cancel{Cancel: &outriderv1.Cancel{}}}); err != nil {
		t.Fatal(err)
	}
	lastCommit(t, s)
	if logs, seqs, rows := r.Prefixes(); logs != 1 || seqs != 1 || rows != 35 {
		t.Errorf("%d logs, %d sequences, %d rows are kept, want 1, 1, 35", logs, seqs, rows)
	}
	r.empty()
}

// TestKeptRowsMakeRoom: a session gets the whole memory if it needs it, drafts included.
func TestKeptRowsMakeRoom(t *testing.T) {
	m := newToy()
	m.info.KVTokens = 110
	r := start(t, m, Config{})
	newTalk(r, 1, longSession(7, 20, 50)).say(0, 30)
	if _, _, rows := r.Prefixes(); rows != 49 {
		t.Fatalf("%d rows are kept, want 49", rows)
	}
	id := longSession(11, 8, 100)
	n := newNaive(t, open(id, promptOf(id, 8), 100))
	n.eager, n.open.RunAhead = true, &outriderv1.RunAhead{MaxPassesPerToken: 0.3}
	if err := n.run(t.Context(), r.c); err != nil {
		t.Fatal(err)
	}
	n.check()
	if logs, _, rows := r.Prefixes(); logs != 1 || rows != 0 {
		t.Errorf("%d logs with %d rows are kept, want one without", logs, rows)
	}
}
