package edge

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"google.golang.org/grpc/resolver/dns"

	"github.com/outrider-llm/outrider/cloud"
)

// names is a name server that knows one name.
type names struct {
	mu   sync.Mutex
	ips  []string
	addr string
}

func newNames(t *testing.T, ips ...string) *names {
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &names{ips: ips, addr: c.LocalAddr().String()}
	done := make(chan struct{})
	t.Cleanup(func() { _ = c.Close(); <-done })
	go func() {
		defer close(done)
		for b := make([]byte, 1500); ; {
			k, from, err := c.ReadFrom(b)
			if err != nil {
				return
			}
			if reply, err := n.answer(b[:k]); err == nil {
				_, _ = c.WriteTo(reply, from)
			}
		}
	}()
	return n
}

func (n *names) set(ips ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ips = ips
}

func (n *names) answer(query []byte) ([]byte, error) {
	var m dnsmessage.Message
	if err := m.Unpack(query); err != nil {
		return nil, err
	}
	m.Response, m.Additionals = true, nil
	q := m.Questions[0]
	n.mu.Lock()
	defer n.mu.Unlock()
	if q.Type == dnsmessage.TypeA {
		for _, ip := range n.ips {
			a := dnsmessage.AResource{A: [4]byte(net.ParseIP(ip).To4())}
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class}, Body: &a})
		}
	}
	return m.Pack()
}

// replicaSet serves one target from 127.0.0.1, .2 and .3, on one port, each with its own time per step.
func replicaSet(t *testing.T, steps ...time.Duration) (toys []*toy, clouds []*testCloud, port string) {
	port = "0"
	for i, step := range steps {
		m := newToy(0)
		m.step = step
		m.info.Sequences = 256
		c := &testCloud{t: t, addr: fmt.Sprintf("127.0.0.%d:%s", i+1, port), config: cloud.Config{IdleTTL: 300 * time.Millisecond, Targets: []cloud.Target{{Name: "big", Model: m}}}}
		c.start()
		t.Cleanup(c.kill)
		if _, port, _ = net.SplitHostPort(c.addr); c.server == nil {
			t.Skip("this machine has no 127.0.0.2, or the port is taken")
		}
		toys, clouds = append(toys, m), append(clouds, c)
	}
	return toys, clouds, port
}

// at is the replica that an edge uses now.
func (e *Edge) at() string {
	e.link.mu.Lock()
	defer e.link.mu.Unlock()
	return e.link.replicas.at
}

// reaches waits until an edge uses a replica, as if it had been at another for long.
func reaches(t *testing.T, e *Edge, m *toy, addr string) {
	t.Helper()
	eventually(t, "the fastest replica", func() bool {
		e.link.mu.Lock()
		if r := &e.link.replicas; r.Current() != "" && r.Current() != addr {
			r.Settle()
		}
		e.link.mu.Unlock()
		ask(t, e, m, 1, 5)
		return e.at() == addr
	})
}

// ask runs one request and compares the answer with the target's own.
func ask(t *testing.T, e *Edge, m *toy, seed, tokens int) Summary {
	t.Helper()
	req := request(seed, tokens)
	c := &collect{t: t}
	sum, err := e.Generate(t.Context(), req, c.emit)
	if want := m.oracle(req.Params, req.Tokens, len(req.Tokens)+tokens); err != nil || !slices.Equal(c.tokens, want) {
		t.Errorf("request %d: %v\ngot  %v\nwant %v", seed, err, c.tokens, want)
	}
	return sum
}

// An edge finds three replicas behind one name, goes to the one that is fastest under load, follows when that one drains, and when the
// name changes.
func TestReplicasBehindAName(t *testing.T) {
	dns.SetMinResolutionInterval(50 * time.Millisecond)
	t.Cleanup(func() { dns.SetMinResolutionInterval(30 * time.Second) })
	toys, clouds, port := replicaSet(t, 12*time.Millisecond, 12*time.Millisecond, time.Millisecond)
	n := newNames(t, "127.0.0.1", "127.0.0.2", "127.0.0.3")
	for i, c := range clouds { // so that each knows what a step takes
		e, err := New(Config{Cloud: c.addr, Vocabulary: "toy"})
		if err != nil {
			t.Fatal(err)
		}
		ask(t, e, toys[i], i, 4)
		_ = e.Close()
	}
	e, err := New(Config{Cloud: fmt.Sprintf("dns://%s/clouds.test:%s", n.addr, port), Vocabulary: "toy", LinkTimeout: time.Second, survey: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	fast := clouds[2]
	reaches(t, e, toys[0], fast.addr)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	fast.server.Drain(ctx)
	if sum := ask(t, e, toys[0], 9, 10); !sum.Exact || e.at() == fast.addr {
		t.Errorf("with the fastest draining: exact %v, at %s", sum.Exact, e.at())
	}
	n.set("127.0.0.2")
	eventually(t, "the only replica left", func() bool {
		ask(t, e, toys[0], 10, 3)
		return e.at() == clouds[1].addr
	})
}

// The one of three that is quickest wins, wherever the edge began.
func TestLeastLoadedReplica(t *testing.T) {
	toys, clouds, _ := replicaSet(t, 40*time.Millisecond, 40*time.Millisecond, time.Millisecond)
	var list []string
	for i, c := range clouds {
		e, err := New(Config{Cloud: c.addr, Vocabulary: "toy"})
		if err != nil {
			t.Fatal(err)
		}
		ask(t, e, toys[i], i, 4)
		_ = e.Close()
		list = append(list, c.addr)
	}
	e, err := New(Config{Cloud: strings.Join(list, ","), Vocabulary: "toy", LinkTimeout: time.Second, survey: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	reaches(t, e, toys[0], clouds[2].addr)
}
