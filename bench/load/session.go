package load

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/outrider-llm/outrider/cloud"
	outriderv1 "github.com/outrider-llm/outrider/proto/outrider/v1"
)

// script is a prompt and what the target says after it.
type script struct {
	prompt, text []uint32
	seed         uint64
}

// session is one scripted edge. Its goroutine sends and receives.
type session struct {
	open      *outriderv1.Open
	script    *script
	rng       *rand.Rand
	agreement float64
	depth     int
	wait      time.Duration
	tenant    string

	log    []uint32
	acked  int
	epoch  int
	sent   []uint32 // nodes of the epoch, a chain
	next   int      // of them are committed
	window int

	begun, first, last time.Time
	retries            int
	proposed           int
	finish             outriderv1.Finish
	usage              *outriderv1.Usage
	err                error
}

const (
	ackEvery   = 16
	maxRetries = 20
)

func (r *runner) newSession(i int, s *script) *session {
	id := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, r.c.Seed), uint64(i))
	return &session{script: s, rng: rand.New(rand.NewPCG(r.c.Seed, uint64(i)<<32)), agreement: r.c.Agreement, depth: r.c.Depth,
		log: slices.Clone(s.prompt),
		open: &outriderv1.Open{Session: id, Model: r.c.Model, Vocabulary: r.vocabulary, PromptLength: uint32(len(s.prompt)),
			MaxLength: uint32(len(s.prompt) + r.c.Tokens), IgnoreEnd: true, Sampling: &outriderv1.Sampling{Temperature: 1, Seed: s.seed}}}
}

// run speaks until the session has ended; where the cloud says when to try again it does.
func (s *session) run(ctx context.Context, c outriderv1.DecodeServiceClient) {
	if s.err = sleep(ctx, s.wait); s.err != nil {
		return
	}
	s.begun = time.Now()
	for {
		s.open.Stream++
		s.err = s.stream(ctx, c)
		after := retryAfter(s.err)
		if s.err == nil || after == 0 || s.retries == maxRetries {
			break
		}
		s.retries++
		if sleep(ctx, after+time.Duration(s.rng.Int64N(int64(after)))) != nil {
			break
		}
	}
	if s.err == nil && s.script.text != nil && !slices.Equal(s.log[len(s.script.prompt):], s.script.text) {
		s.err = errMismatch
	}
}

var errMismatch = errors.New("the output is not what the target says alone")

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

func retryAfter(err error) time.Duration {
	for _, d := range status.Convert(err).Details() {
		if i, ok := d.(*errdetails.RetryInfo); ok {
			return max(time.Millisecond, i.GetRetryDelay().AsDuration())
		}
	}
	return 0
}

func (s *session) stream(ctx context.Context, c outriderv1.DecodeServiceClient) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if s.tenant != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, cloud.TenantHeader, s.tenant)
	}
	stream, err := c.Decode(ctx)
	if err != nil {
		return err
	}
	send := func(m *outriderv1.DecodeRequest) error {
		if err := stream.Send(m); !errors.Is(err, io.EOF) { // EOF: Recv knows why
			return err
		}
		return nil
	}
	s.open.Tokens = s.log
	s.acked, s.epoch, s.sent, s.next = len(s.log), len(s.log), nil, 0
	if err := send(&outriderv1.DecodeRequest{Message: &outriderv1.DecodeRequest_Open{Open: s.open}}); err != nil {
		return err
	}
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) && s.finish != 0 {
			return nil
		}
		if err != nil {
			return err
		}
		switch {
		case m.GetOpened() != nil:
			s.window = int(m.GetOpened().GetWindow())
		case m.GetCommit() != nil:
			if err := s.commit(m.GetCommit()); err != nil {
				return err
			}
		}
		if s.finish != 0 {
			continue
		}
		if err := s.answer(send); err != nil {
			return err
		}
	}
}

// commit takes tokens in and follows them along the nodes sent.
func (s *session) commit(c *outriderv1.Commit) error {
	if int(c.GetStart()) != len(s.log) {
		return fmt.Errorf("a commit at %d does not continue a log of %d", c.GetStart(), len(s.log))
	}
	s.last = time.Now()
	if s.first.IsZero() {
		s.first = s.last
	}
	for _, t := range c.GetTokens() {
		s.log = append(s.log, t)
		if s.next < len(s.sent) && s.sent[s.next] == t {
			s.next++
			continue
		}
		s.epoch, s.sent, s.next = len(s.log), nil, 0
	}
	s.finish, s.usage = c.GetFinish(), c.GetUsage()
	return nil
}

// answer acknowledges and proposes.
func (s *session) answer(send func(*outriderv1.DecodeRequest) error) error {
	if len(s.log) >= s.acked+ackEvery {
		s.acked = len(s.log)
		m := &outriderv1.Ack{Committed: uint32(s.acked)}
		if err := send(&outriderv1.DecodeRequest{Message: &outriderv1.DecodeRequest_Ack{Ack: m}}); err != nil {
			return err
		}
	}
	more := s.propose()
	if len(more) == 0 {
		return nil
	}
	m := &outriderv1.Propose{Epoch: uint32(s.epoch), First: uint32(len(s.sent)), Tokens: more}
	s.sent = append(s.sent, more...)
	s.proposed += len(more)
	return send(&outriderv1.DecodeRequest{Message: &outriderv1.DecodeRequest_Propose{Propose: m}})
}

// propose continues the chain up to the depth, right or wrong by chance.
func (s *session) propose() (more []uint32) {
	if s.agreement < 0 {
		return nil
	}
	room := min(s.depth, s.window) - (len(s.sent) - s.next)
	for at := s.epoch + len(s.sent) - len(s.script.prompt); room > 0 && at < len(s.script.text)-1; at++ {
		t := s.script.text[at]
		if s.rng.Float64() >= s.agreement {
			t = max(t, 2) - 1 // another id of the vocabulary, and not 0, which often ends a text
		}
		more = append(more, t)
		room--
	}
	return more
}
