package edge

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	outriderv1 "github.com/outrider-llm/outrider/proto/outrider/v1"
)

// uplink is the connection to the cloud that all sessions share. gRPC reconnects by itself; what it
// finds out too late (its keepalive cannot ping more often than every ten seconds), probe finds: a
// connection that is silent and does not answer is replaced.
type uplink struct {
	c        *Config
	ctx      context.Context // of the edge
	running  sync.WaitGroup  // streams
	watching sync.WaitGroup  // the probe
	heard    atomic.Int64    // when anything last arrived, nanoseconds since began
	rtt      atomic.Int64    // nanoseconds, 0: not measured
	began    time.Time
	gate     gate
	told     func(model, vocabulary string, tokenizer []byte) // hears of each target that the cloud tells of

	mu       sync.Mutex
	address  string        // of the cloud, or of its replicas
	at       int           // the replica in use
	moved    time.Duration // when it was gone to
	conn     *grpc.ClientConn
	streams  int
	probing  bool
	contexts map[string]int // of targets, by the name asked for
}

func newUplink(ctx context.Context, c *Config) (*uplink, error) {
	l := &uplink{c: c, ctx: ctx, moved: -moveEvery, began: time.Now(), contexts: map[string]int{}}
	l.gate.l = l
	l.begin(c.Cloud)
	var err error
	if l.conn, err = l.dial(c.Cloud); err != nil {
		return nil, fmt.Errorf("cannot use the cloud address %q: %w", c.Cloud, err)
	}
	l.conn.Connect() // so that the first request finds it ready
	return l, nil
}

func (l *uplink) dial(address string) (*grpc.ClientConn, error) {
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultServiceConfig(shuffled),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: l.c.LinkTimeout}),
		grpc.WithConnectParams(grpc.ConnectParams{MinConnectTimeout: 5 * time.Second,
			Backoff: backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 2 * time.Second}}),
	}
	return grpc.NewClient(Addresses(address)[l.at], append(options, l.c.Dial...)...)
}

// acquire returns the connection for one stream; release gives it back.
func (l *uplink) acquire() *grpc.ClientConn {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.streams++
	if !l.probing {
		l.probing = true
		l.watching.Go(l.probe)
	}
	return l.conn
}

func (l *uplink) release() {
	l.mu.Lock()
	l.streams--
	l.mu.Unlock()
}

func (l *uplink) now() time.Duration { return time.Since(l.began) }

func (l *uplink) hear() { l.heard.Store(int64(l.now())) }

// slowest is the rate, in bytes per second, below which an upload makes a link count as silent.
const slowest = 128 << 10

// excuse says that a message of this size goes up, and that answers have to wait behind it.
func (l *uplink) excuse(size int) {
	until := time.Since(l.began) + time.Duration(size)*time.Second/slowest
	if l.heard.Load() < int64(until) {
		l.heard.Store(int64(until))
	}
}

// silent is for how long nothing has arrived; negative while that is no wonder.
func (l *uplink) silent() time.Duration { return time.Since(l.began) - time.Duration(l.heard.Load()) }

// rttEvery is how often the round trip is measured while streams are open.
const rttEvery = 15 * time.Second

// probe watches the connection while streams are open.
func (l *uplink) probe() {
	tick := time.NewTicker(l.c.LinkTimeout / 8)
	defer tick.Stop()
	var measured time.Time
	for {
		l.mu.Lock()
		conn := l.conn
		if l.streams == 0 || l.ctx.Err() != nil {
			l.probing = false
			l.mu.Unlock()
			return
		}
		l.mu.Unlock()
		if conn.GetState() == connectivity.TransientFailure {
			l.elsewhere(conn, false, "this one cannot be reached")
		}
		if conn.GetState() == connectivity.Ready && (l.silent() > l.c.LinkTimeout/4 || time.Since(measured) > rttEvery) {
			measured = time.Now()
			l.ping(conn)
		}
		select {
		case <-l.ctx.Done():
		case <-tick.C:
		}
	}
}

// ping asks for the list of targets. No answer on a connection that counts as ready: replace it.
func (l *uplink) ping(conn *grpc.ClientConn) {
	ctx, cancel := context.WithTimeout(l.ctx, l.c.LinkTimeout*3/4)
	defer cancel()
	begin := time.Now()
	_, err := l.list(ctx, conn)
	if err == nil {
		took := time.Since(begin)
		l.rtt.Store(int64(took))
		l.c.Metrics.rtt.Set(took.Seconds())
		l.c.Metrics.roundTrip.Observe(took.Seconds())
		l.gate.roundTrip(took)
		return
	}
	if status.Code(err) != codes.DeadlineExceeded || l.ctx.Err() != nil || l.silent() < l.c.LinkTimeout/2 || conn.GetState() != connectivity.Ready {
		return
	}
	l.c.Logger.Warn("the cloud has fallen silent, connecting anew", "cloud", l.c.Cloud, "after", l.c.LinkTimeout)
	l.mu.Lock()
	if l.conn != conn { // redirected meanwhile
		l.mu.Unlock()
		return
	}
	fresh, err := l.dial(l.address)
	if err == nil {
		l.conn = fresh
	}
	l.mu.Unlock()
	if err != nil {
		return
	}
	_ = conn.Close() // its streams end and are opened again
}

// redirect makes streams that are opened from now on go to another address. Those under way keep
// their connection as long as that serves them.
func (l *uplink) redirect(address string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if address == l.address || l.ctx.Err() != nil {
		return nil
	}
	before, at := l.address, l.at
	l.begin(address)
	fresh, err := l.dial(address)
	if err != nil {
		l.address, l.at = before, at
		return fmt.Errorf("cannot use the cloud address %q: %w", address, err)
	}
	l.swap(fresh)
	l.gate.reached() // as far as is known of the other one
	return nil
}

// list asks the cloud what it serves.
func (l *uplink) list(ctx context.Context, conn *grpc.ClientConn, options ...grpc.CallOption) ([]*outriderv1.TargetInfo, error) {
	r, err := outriderv1.NewDecodeServiceClient(conn).ListModels(ctx, &outriderv1.ListModelsRequest{}, options...)
	if err != nil {
		return nil, err
	}
	l.hear()
	l.gate.reached()
	for i, t := range r.GetModels() {
		if pending(t) != "" {
			continue // nothing is known of it
		}
		l.learn(t.GetName(), t)
		if i == 0 {
			l.learn("", t)
		}
	}
	return r.GetModels(), nil
}

// pending says that a target is not there yet, or why it never will be; empty when it is.
func pending(t *outriderv1.TargetInfo) string {
	switch t.GetState() {
	case outriderv1.TargetState_TARGET_STATE_LOADING:
		return fmt.Sprintf("target %s is being loaded (%d %%)", t.GetName(), t.GetLoadPercent())
	case outriderv1.TargetState_TARGET_STATE_FAILED:
		return fmt.Sprintf("target %s could not be loaded: %s", t.GetName(), oneLine(t.GetProblem()))
	}
	return ""
}

// contextOf is the context length of a target as last told, 0: not known.
func (l *uplink) contextOf(model string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.contexts[model]
}

// learn remembers what a request for a model was answered by.
func (l *uplink) learn(model string, t *outriderv1.TargetInfo) {
	l.told(model, t.GetVocabulary(), t.GetTokenizer())
	l.mu.Lock()
	defer l.mu.Unlock()
	l.contexts[model] = int(t.GetContextLength())
}

// close disconnects once the streams that are being left have told the cloud; kill ends l.ctx.
func (l *uplink) close(kill func()) {
	l.running.Wait()
	l.mu.Lock() // redirect starts no watcher afterwards
	kill()
	l.mu.Unlock()
	l.watching.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	_ = l.conn.Close()
}
