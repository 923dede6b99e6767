package sweep

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"

	"github.com/outrider-llm/outrider/backend"
	outriderv1 "github.com/outrider-llm/outrider/proto/outrider/v1"
	"github.com/outrider-llm/outrider/speculative"
)

// loop is the plain draft-verify loop that Outrider is compared with: draft k tokens, send them, wait
// for the verdict. It speaks the same protocol to the same cloud, which never runs ahead of it (but when
// a verdict is asked for later than speculative.DefaultDefer after the last one).
type loop struct {
	c      outriderv1.DecodeServiceClient
	draft  backend.Model
	v      *Variant
	vocab  string
	seq    backend.Sequence
	log    []backend.Token
	held   []backend.Token // whose rows the draft has
	prompt int
	length int // at which it ends
	params speculative.Params

	acked, epoch int
	sent         []backend.Token // nodes of the epoch
	next         int             // of them are committed
	finish       outriderv1.Finish
	o            outcome
	began        time.Time
}

// loop returns what runs the loop's generations against an address.
func (r *runner) loop(addr string, v *Variant) (func(context.Context, job) (outcome, error), error) {
	draft := r.c.Fit
	if draft == nil {
		draft = r.c.Draft
	}
	if draft == nil {
		return nil, errors.New("there is no draft model: name one with --draft")
	}
	vocabulary := draft.Info().Vocabulary
	if r.c.Target != nil {
		vocabulary = r.c.Target.Fingerprint()
	}
	return func(ctx context.Context, j job) (outcome, error) {
		conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			return outcome{}, err
		}
		defer func() { _ = conn.Close() }() // nothing is left to lose
		conn.Connect()                      // an edge has its connection, too
		for s := conn.GetState(); s.String() != "READY"; s = conn.GetState() {
			if !conn.WaitForStateChange(ctx, s) {
				return outcome{}, ctx.Err()
			}
		}
		l := &loop{c: outriderv1.NewDecodeServiceClient(conn), draft: draft, v: v, vocab: vocabulary, seq: backend.Sequence(1 + j.slot),
			log: slices.Clone(j.tokens), prompt: len(j.tokens), length: len(j.tokens) + j.most, params: v.Request.Params}
		l.params.Seed = j.seed
		err = l.run(ctx)
		if rtt := RTT(v.Link); v.Way == Colocated && err == nil {
			l.o.first, l.o.total = l.o.first+rtt, l.o.total+rtt
		}
		return l.o, err
	}, nil
}

func (l *loop) run(ctx context.Context) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	l.began = time.Now()
	defer func() {
		err = errors.Join(err, l.draft.Release(context.WithoutCancel(ctx), []backend.Sequence{l.seq}))
	}()
	stream, err := l.c.Decode(ctx)
	if err != nil {
		return err
	}
	id := make([]byte, 16)
	_, _ = rand.Read(id) // never fails
	open := &outriderv1.Open{Session: id, Stream: 1, Vocabulary: l.vocab, PromptLength: uint32(l.prompt), MaxLength: uint32(l.length), IgnoreEnd: true,
		Sampling: backend.SamplingToProto(l.params), RunAhead: &outriderv1.RunAhead{MaxPassesPerToken: 0.001}, Tokens: wire(l.log)}
	if err := stream.Send(&outriderv1.DecodeRequest{Message: &outriderv1.DecodeRequest_Open{Open: open}}); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	l.acked, l.epoch = len(l.log), len(l.log)
	for l.finish == 0 {
		if l.next == len(l.sent) { // all that was sent has its verdict
			if err := l.propose(ctx, stream); err != nil {
				return err
			}
		}
		m, err := stream.Recv()
		if err != nil {
			return err
		}
		if c := m.GetCommit(); c != nil {
			if err := l.commit(c); err != nil {
				return err
			}
		}
	}
	return stream.CloseSend()
}

func wire(tokens []backend.Token) []uint32 {
	out := make([]uint32, len(tokens))
	for i, t := range tokens {
		out[i] = uint32(t)
	}
	return out
}

// propose drafts and sends the next tokens.
func (l *loop) propose(ctx context.Context, stream grpc.BidiStreamingClient[outriderv1.DecodeRequest, outriderv1.DecodeResponse]) error {
	send := func(m *outriderv1.DecodeRequest, size int) error {
		l.o.uplink += size
		if err := stream.Send(m); !errors.Is(err, io.EOF) { // EOF: Recv knows why
			return err
		}
		return nil
	}
	if len(l.log) >= l.acked+speculative.AckEvery {
		l.acked = len(l.log)
		m := &outriderv1.DecodeRequest{Message: &outriderv1.DecodeRequest_Ack{Ack: &outriderv1.Ack{Committed: uint32(l.acked)}}}
		if err := send(m, proto.Size(m)); err != nil {
			return err
		}
	}
	k := min(l.v.Depth, l.length-len(l.log)) // also for the last token: with nothing to judge the cloud would wait
	if k < 1 {
		return nil
	}
	start := min(speculative.Common(l.held, l.log), len(l.log)-1)
	seg := backend.Segment{Sequence: l.seq, Start: start, Tokens: l.log[start:]}
	if start == 0 {
		seg.Setup = &backend.Setup{Params: l.params, PromptLength: l.prompt}
	}
	var more []backend.Token
	err := l.draft.Draft(ctx, backend.DraftRequest{Segment: seg, MaxTokens: k}, func(c choice) bool {
		more = append(more, c.Token)
		return true
	})
	if err != nil || len(more) == 0 {
		return err
	}
	l.held = append(slices.Clone(l.log), more[:len(more)-1]...)
	m := &outriderv1.DecodeRequest{Message: &outriderv1.DecodeRequest_Propose{Propose: &outriderv1.Propose{Epoch: uint32(l.epoch),
		First: uint32(len(l.sent)), Tokens: wire(more)}}}
	l.sent = append(l.sent, more...)
	l.o.drafted += len(more)
	return send(m, proto.Size(m))
}

// commit takes tokens in and follows them along the nodes sent.
func (l *loop) commit(c *outriderv1.Commit) error {
	if int(c.GetStart()) != len(l.log) {
		return fmt.Errorf("a commit at %d does not continue a log of %d", c.GetStart(), len(l.log))
	}
	l.o.downlink += proto.Size(c)
	fates := c.GetFates()
	for i, t := range c.GetTokens() {
		t := backend.Token(t)
		l.log, l.o.output = append(l.log, t), append(l.o.output, t)
		f := speculative.FateUnknown
		if i < len(fates) {
			f = speculative.Fate(fates[i])
		}
		l.o.fates.WriteByte(fate(f, false, false))
		if l.next < len(l.sent) && l.sent[l.next] == t {
			l.next++
			continue
		}
		l.epoch, l.sent, l.next = len(l.log), nil, 0
	}
	if l.o.total = time.Since(l.began); l.o.first == 0 && len(l.o.output) > 0 {
		l.o.first = l.o.total
	}
	l.o.tokens = len(l.o.output)
	if l.finish = c.GetFinish(); l.finish != 0 {
		u := c.GetUsage()
		l.o.usage = speculative.Usage{Drafted: int(u.GetDrafted()), Judged: int(u.GetJudged()), Accepted: int(u.GetAccepted()), Late: int(u.GetLate()),
			Passes: int(u.GetPasses()), ScoringPasses: int(u.GetScoringPasses()), Positions: int(u.GetPositions())}
		l.o.exact = true
	}
	return nil
}
