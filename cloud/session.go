package cloud

import (
	"container/list"
	"errors"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/outrider-llm/outrider/backend"
	outriderv1 "github.com/outrider-llm/outrider/proto/outrider/v1"
	"github.com/outrider-llm/outrider/speculative"
	"github.com/outrider-llm/outrider/telemetry"
)

// session is one stream's state. Everything in it is guarded by its loop's mutex: the receiving
// goroutine hands messages in, the loop steps, the stream's handler takes commits out.
//
// A session is connected (its stream's handler runs) or idle (the stream broke; it may be resumed).
// A connected one is busy (part of the step under way), blocked (waits for KV memory), over (the
// handler sends what is left and leaves) or marked (the loop looks at it before the next step).
type session struct {
	id       sessionID
	order    uint64 // of admission, kept on resume: older sessions go first when KV memory is short
	stream   uint32
	setup    backend.Setup
	logprobs int
	v        *speculative.Verifier
	seq      backend.Sequence // 0: none
	packed   speculative.Unpacker
	ready    bool // the sequence has this session's setup
	peer     Peer
	account  *account  // of its tenant, nil: nothing bounds it
	resumed  bool      // an older stream was taken over
	key      prefixKey // under which the log is kept once it is finished
	kept     bool      // and that has been done
	exact    bool
	name     string         // request id, for logs and traces
	span     telemetry.Span // of the stream

	connected bool
	busy      bool
	stepped   chan struct{} // closed when the step under way is over, nil while not busy
	blocked   bool
	probing   bool // was blocked and tries again; when it succeeds the next one may
	narrow    bool // the next segment goes without drafts: there was no room for them
	suspect   int  // steps in a row that failed as a whole with this session in them
	done      bool // left for good while busy: dropped at the end of the step
	adopted   bool // a newer stream has taken its counters over
	idleAt    *list.Element
	idleSince speculative.Time

	tenant    *tenant
	marked    bool // listed: to be looked at, or ready
	markedAt  speculative.Time
	offer     speculative.Offer
	fresh     bool             // offer is up to date
	readyAt   speculative.Time // 0: not ready
	parkedAt  speculative.Time // since when nothing but the edge's Ack can get it on; 0: not so
	timer     speculative.Time // earliest entry in the loop's timers; 0: none
	served    speculative.Time
	pacedAt   speculative.Time // since when its pace counts; 0: not yet
	pacedFrom int              // length of the log then
	opened    speculative.Time
	spoke     bool              // has committed something
	counted   speculative.Usage // in the metrics

	mail   int // messages in the loop's inbox, guarded by its lock
	out    outbox
	acked  int           // length of the log as acknowledged
	over   bool          // nothing follows what is out
	err    error         // how the stream ends
	notify chan struct{} // something changed for the handler
}

// runnable says whether the session may be part of a step.
func (s *session) runnable() bool { return s.connected && !s.busy && !s.blocked && !s.over }

var errSuperseded = status.Error(codes.Aborted, "a newer stream of this session has been opened")

// end finishes the stream with err (nil: well) once out has been sent.
func (s *session) end(err error) {
	if !s.over {
		s.over, s.err = true, err
		s.out.end(err)
	}
	s.wake()
}

func (s *session) wake() {
	select {
	case s.notify <- struct{}{}:
	default:
	}
}

// push queues a commit. The queue is bounded by the credit: one commit holds at least one token.
func (s *session) push(c speculative.Commit) {
	if len(c.Tokens) == 0 && c.Finish == speculative.NotFinished {
		return
	}
	s.out.push(c)
	if c.Finish != speculative.NotFinished {
		s.end(nil)
		return
	}
	s.wake()
}

// finish ends the session for a reason that is not the model's.
func (s *session) finish(why speculative.Finish) {
	s.v.Cancel(why)
	if c, ok := s.v.Replay(len(s.v.Log())); ok {
		s.push(c)
	}
}

// handle applies one message of the stream.
func (s *session) handle(m *outriderv1.DecodeRequest, now speculative.Time, vocabulary, window int) error {
	switch x := m.GetMessage().(type) {
	case *outriderv1.DecodeRequest_Propose:
		p, err := propose(x.Propose, vocabulary, window)
		if err != nil {
			return err
		}
		if err := p.CheckDrawn(s.setup.Rule, vocabulary); err != nil {
			return protocolStatus(err)
		}
		s.packed.Note(p)
		return protocolStatus(s.v.Propose(now, p))
	case *outriderv1.DecodeRequest_Packed:
		p, err := s.packed.Unpack(x.Packed)
		if err != nil {
			return protocolStatus(err)
		}
		for _, t := range p.Tokens {
			if int(t) >= vocabulary {
				return invalid("a proposal holds token %d, the vocabulary has %d", t, vocabulary)
			}
		}
		if err := p.CheckDrawn(s.setup.Rule, vocabulary); err != nil {
			return protocolStatus(err)
		}
		return protocolStatus(s.v.Propose(now, p))
	case *outriderv1.DecodeRequest_Ack:
		n := x.Ack.GetCommitted()
		if sent := s.out.length(); int64(n) > int64(sent) {
			return invalid("%d positions are acknowledged, %d were sent", n, sent)
		}
		s.acked = max(s.acked, int(n))
		return protocolStatus(s.v.Ack(int(n)))
	case *outriderv1.DecodeRequest_Cancel:
		s.finish(speculative.FinishCancelled)
		return nil
	case *outriderv1.DecodeRequest_Open:
		return invalid("open was sent twice on one stream")
	}
	return invalid("empty message")
}

func protocolStatus(err error) error {
	if errors.Is(err, speculative.ErrProtocol) {
		return invalid("%s", err)
	}
	return err
}

// segment turns a granted share into a model segment.
func (s *session) segment(seg speculative.Segment) backend.Segment {
	m := backend.Segment{Sequence: s.seq, Start: seg.Start, Tokens: seg.Tokens, Parents: seg.Parents, Q: seg.Q, Keep: seg.Keep}
	if seg.Prefill {
		m.From = len(seg.Tokens)
	} else {
		m.Logprobs = s.logprobs
	}
	if seg.Start == 0 || !s.ready {
		m.Setup = &s.setup
	}
	return m
}

func sameSetup(a, b backend.Setup) bool {
	p, q := a.Params, b.Params
	if len(p.LogitBias) != len(q.LogitBias) {
		return false
	}
	for t, v := range p.LogitBias {
		if w, ok := q.LogitBias[t]; !ok || v != w {
			return false
		}
	}
	return a.PromptLength == b.PromptLength && a.Constraint == b.Constraint && a.Rule == b.Rule && p.Temperature == q.Temperature && p.TopK == q.TopK && p.TopP == q.TopP &&
		p.MinP == q.MinP && p.RepetitionPenalty == q.RepetitionPenalty && p.PresencePenalty == q.PresencePenalty &&
		p.FrequencyPenalty == q.FrequencyPenalty && p.Seed == q.Seed && p.Choice == q.Choice
}
