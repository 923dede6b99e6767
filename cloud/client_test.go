package cloud

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/outrider-llm/outrider/backend"
	outriderv1 "github.com/outrider-llm/outrider/proto/outrider/v1"
	"github.com/outrider-llm/outrider/speculative"
)

// rig is one cloud on an in-memory listener.
type rig struct {
	*Server
	t    *testing.T
	toy  *toy
	lis  *bufconn.Listener
	conn *grpc.ClientConn
	c    outriderv1.DecodeServiceClient
}

// start serves a toy until the test ends, then checks that no sequence is left in it.
func start(t *testing.T, m *toy, c Config) *rig {
	t.Helper()
	c.Targets = []Target{{Name: "toy", Model: m, Bytes: func(t backend.Token) []byte { return []byte{'a' + byte(t%26)} }}}
	if testing.Verbose() {
		c.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	s, err := NewServer(c)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{Server: s, t: t, toy: m, lis: bufconn.Listen(1 << 20)}
	gs := grpc.NewServer(s.Options()...)
	outriderv1.RegisterDecodeServiceServer(gs, s)
	var wg sync.WaitGroup
	wg.Go(func() { _ = gs.Serve(r.lis) })
	r.conn = r.dial()
	r.c = outriderv1.NewDecodeServiceClient(r.conn)
	t.Cleanup(func() {
		_ = r.conn.Close()
		s.Close()
		gs.Stop()
		wg.Wait()
		if n, _ := m.held(); n != 0 {
			t.Errorf("%d sequences were left in the model", n)
		}
	})
	return r
}

func (r *rig) dial() *grpc.ClientConn {
	conn, err := grpc.NewClient("passthrough:///cloud", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return r.lis.DialContext(ctx) }))
	if err != nil {
		r.t.Fatal(err)
	}
	return conn
}

// eventually waits for a condition that comes about by itself.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("still not: %s", what)
		}
	}
}

// empty waits until neither the server nor the model remembers a session; finished logs may be kept.
func (r *rig) empty() {
	r.t.Helper()
	eventually(r.t, "no session and no sequence left", func() bool {
		c, i := r.Sessions()
		n, _ := r.toy.held()
		_, kept, _ := r.Prefixes()
		return c == 0 && i == 0 && n == kept
	})
}

func testID(n uint64) []byte {
	id := make([]byte, 16)
	for i := range 8 {
		id[i] = byte(n >> (8 * i))
	}
	return id
}

// open is a valid Open of session n; its seed is n, too.
func open(n uint64, prompt []backend.Token, maxLength int) *outriderv1.Open {
	return &outriderv1.Open{Session: testID(n), Stream: 1, Vocabulary: "toy-50", Tokens: wire(prompt), PromptLength: uint32(len(prompt)),
		MaxLength: uint32(maxLength), Sampling: &outriderv1.Sampling{Temperature: 1, Seed: n}}
}

func wire(t []backend.Token) []uint32 {
	out := make([]uint32, len(t))
	for i := range t {
		out[i] = uint32(t[i])
	}
	return out
}

func promptOf(n uint64, length int) []backend.Token {
	p := make([]backend.Token, length)
	for i := range p {
		p[i] = backend.Token((n*7 + uint64(i)*3) % 49)
	}
	return p
}

// naive is a client that speaks decode.proto with as little thought as can be: what it has received is
// its log; it proposes at random, in random trees, sometimes what the target will say.
type naive struct {
	t       *testing.T
	open    *outriderv1.Open
	log     []backend.Token
	rng     *rand.Rand
	agree   float64 // how often a proposed token is right
	quiet   bool    // proposes nothing
	name    int     // leading tokens that are named instead of sent
	opened  *outriderv1.Opened
	eager   bool // proposes at each turn
	deaf    bool // acknowledges nothing
	acked   int
	epoch   int
	resumes int
	fates   [5]int
	finish  outriderv1.Finish
	usage   *outriderv1.Usage
	onToken func(n int) // after each commit, with the log's length
}

func newNaive(t *testing.T, o *outriderv1.Open) *naive {
	n := &naive{t: t, open: o, agree: 0.7, epoch: -1, rng: rand.New(rand.NewPCG(o.GetSampling().GetSeed(), 1))}
	for _, v := range o.GetTokens() {
		n.log = append(n.log, backend.Token(v))
	}
	return n
}

func (n *naive) generated() []backend.Token { return n.log[n.open.GetPromptLength():] }

// run speaks one stream until it ends; nil means that the session finished.
func (n *naive) run(ctx context.Context, c outriderv1.DecodeServiceClient) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s, err := c.Decode(ctx)
	if err != nil {
		return err
	}
	n.open.Tokens, n.open.PrefixLength, n.open.PrefixHash = wire(n.log[n.name:]), uint32(n.name), nil
	if n.name > 0 {
		h := speculative.PrefixHash(n.open.GetPrefixKey(), n.log[:n.name])
		n.open.PrefixHash = h[:]
	}
	n.epoch, n.acked = -1, len(n.log)
	if err := send(s, &outriderv1.DecodeRequest{Message: &outriderv1.DecodeRequest_Open{Open: n.open}}); err != nil {
		return err
	}
	m, err := s.Recv()
	if err != nil {
		return err
	}
	if n.opened = m.GetOpened(); n.opened == nil {
		return errors.New("the first message is not opened")
	}
	if err := n.speak(s); err != nil {
		return err
	}
	for {
		m, err := s.Recv()
		if errors.Is(err, io.EOF) {
			if n.finish == 0 {
				return errors.New("the stream ended well without a finish")
			}
			return nil
		}
		if err != nil {
			return err
		}
		if err := n.take(m.GetCommit()); err != nil {
			return err
		}
		if n.onToken != nil {
			n.onToken(len(n.log))
		}
		if n.finish == 0 {
			if err := n.speak(s); err != nil {
				return err
			}
		}
	}
}

// send hides the EOF by which Send says that Recv knows the reason.
func send(s grpc.BidiStreamingClient[outriderv1.DecodeRequest, outriderv1.DecodeResponse], m *outriderv1.DecodeRequest) error {
	if err := s.Send(m); !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

func (n *naive) take(c *outriderv1.Commit) error {
	if int(c.GetStart()) != len(n.log) || len(c.GetTokens()) != len(c.GetFates()) {
		return errors.New("a commit does not continue the log")
	}
	for i, t := range c.GetTokens() {
		n.log = append(n.log, backend.Token(t))
		n.fates[c.GetFates()[i]]++
	}
	n.finish, n.usage = c.GetFinish(), c.GetUsage()
	return nil
}

func (n *naive) speak(s grpc.BidiStreamingClient[outriderv1.DecodeRequest, outriderv1.DecodeResponse]) error {
	if len(n.log) > n.acked && !n.deaf && n.rng.IntN(3) == 0 || len(n.log) >= n.acked+4 && !n.deaf {
		n.acked = len(n.log)
		if err := send(s, ackMsg(n.acked)); err != nil {
			return err
		}
	}
	if n.quiet || n.epoch == len(n.log) || (!n.eager && n.rng.IntN(4) == 0) {
		return nil
	}
	n.epoch = len(n.log)
	return send(s, &outriderv1.DecodeRequest{Message: &outriderv1.DecodeRequest_Propose{Propose: n.propose()}})
}

func ackMsg(n int) *outriderv1.DecodeRequest {
	return &outriderv1.DecodeRequest{Message: &outriderv1.DecodeRequest_Ack{Ack: &outriderv1.Ack{Committed: uint32(n)}}}
}

// propose makes a tree of up to eight nodes: half of the time a chain.
func (n *naive) propose() *outriderv1.Propose {
	p := &outriderv1.Propose{Epoch: uint32(n.epoch)}
	tree := n.rng.IntN(2) == 0
	paths := [][]backend.Token{n.log}
	for i := range 1 + n.rng.IntN(8) {
		parent := i
		if tree {
			parent = n.rng.IntN(i + 1)
			p.Parents = append(p.Parents, uint32(parent))
		}
		t := backend.Token(n.rng.IntN(49))
		if n.rng.Float64() < n.agree {
			t = toyNext(n.open.GetSampling().GetSeed(), paths[parent])
		}
		paths = append(paths, append(slices.Clone(paths[parent]), t))
		p.Tokens, p.Confidence = append(p.Tokens, uint32(t)), append(p.Confidence, 200)
	}
	return p
}

// check compares what was generated with what the target alone would have said.
func (n *naive) check() {
	n.t.Helper()
	o := n.open
	prompt := n.log[:o.GetPromptLength()]
	want := toyGenerate(o.GetSampling().GetSeed(), prompt, int(o.GetMaxLength()))
	if !slices.Equal(n.generated(), want) {
		n.t.Errorf("session %x: generated %v, the target alone says %v", o.GetSession()[:2], n.generated(), want)
	}
}

// retryInfo returns the delay that a status asks for, 0 when it asks for none.
func retryInfo(err error) time.Duration {
	for _, d := range status.Convert(err).Details() {
		if i, ok := d.(*errdetails.RetryInfo); ok {
			return i.GetRetryDelay().AsDuration()
		}
	}
	return 0
}

func (r *rig) toyLoop() *loop {
	l, err := r.find("toy", "", nil)
	if err != nil {
		r.t.Fatal(err)
	}
	return l
}
