package edge

import (
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/outrider-llm/outrider/bench/link"
)

// nat forwards connections to one address and forgets a flow that has been quiet for a while, as NATs do: what
// comes on it afterwards vanishes, and nobody is told.
type nat struct {
	l      net.Listener
	forget time.Duration
	wg     sync.WaitGroup
	mu     sync.Mutex
	all    []net.Conn
	lost   int // flows
}

func newNAT(t *testing.T, target string, forget time.Duration) *nat {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &nat{l: l, forget: forget}
	t.Cleanup(func() {
		_ = l.Close()
		n.mu.Lock()
		for _, c := range n.all {
			_ = c.Close()
		}
		n.mu.Unlock()
		n.wg.Wait()
	})
	n.wg.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", target)
			if err != nil {
				_ = in.Close()
				continue
			}
			n.mu.Lock()
			n.all = append(n.all, in, out)
			n.mu.Unlock()
			f := &flow{n: n, last: time.Now()}
			n.wg.Go(func() { f.pass(in, out) })
			n.wg.Go(func() { f.pass(out, in) })
		}
	})
	return n
}

type flow struct {
	n    *nat
	mu   sync.Mutex
	last time.Time
	gone bool
}

// known says whether the flow is still in the table, now that a packet comes.
func (f *flow) known() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	if !f.gone && now.Sub(f.last) > f.n.forget {
		f.gone = true
		f.n.mu.Lock()
		f.n.lost++
		f.n.mu.Unlock()
	}
	f.last = now
	return !f.gone
}

func (f *flow) pass(from io.Reader, to net.Conn) {
	for b := make([]byte, 32<<10); ; {
		k, err := from.Read(b)
		if k > 0 && f.known() {
			_, _ = to.Write(b[:k])
		}
		if err != nil {
			if f.known() {
				_ = to.Close()
			}
			return
		}
	}
}

func (n *nat) forgotten() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.lost
}

// behind is an edge whose cloud is behind a NAT.
func behind(t *testing.T, forget, keepalive, timeout time.Duration) (*rig, *nat, *Edge) {
	r := newRig(t, link.Config{})
	n := newNAT(t, r.cloud.addr, forget)
	c := r.config
	c.Cloud, c.Keepalive, c.LinkTimeout = n.l.Addr().String(), keepalive, timeout
	e, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	return r, n, e
}

// A NAT that forgot the connection while nobody asked anything costs the next request about the link's timeout, and
// nothing else.
func TestForgottenByNAT(t *testing.T) {
	r, n, e := behind(t, 300*time.Millisecond, -1, 400*time.Millisecond)
	for i := range 2 {
		begun := time.Now()
		ask(t, e, r.target, i, 30)
		t.Logf("request %d took %s, %d flows forgotten", i, time.Since(begun).Round(time.Millisecond), n.forgotten())
		time.Sleep(600 * time.Millisecond)
	}
	ask(t, e, r.target, 3, 30)
	if n.forgotten() == 0 {
		t.Error("no flow was forgotten: the test tests nothing")
	}
}

// Pings keep a NAT from forgetting, and the cloud takes them: no GOAWAY for too many.
func TestKeepaliveThroughNAT(t *testing.T) {
	if os.Getenv("OUTRIDER_VERIFY") == "" {
		t.Skip("takes 40 s: make verify")
	}
	t.Parallel()
	r, n, e := behind(t, 15*time.Second, 10*time.Second, 4*time.Second)
	ask(t, e, r.target, 1, 10)
	e.link.mu.Lock()
	conn := e.link.conn
	e.link.mu.Unlock()
	time.Sleep(40 * time.Second)
	ask(t, e, r.target, 2, 10)
	e.link.mu.Lock()
	defer e.link.mu.Unlock()
	if n.forgotten() > 0 || e.link.conn != conn {
		t.Errorf("%d flows forgotten, another connection: %v", n.forgotten(), e.link.conn != conn)
	}
}
