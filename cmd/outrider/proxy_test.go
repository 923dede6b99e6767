package main

import (
	"bufio"
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/outrider-llm/outrider/models"
)

// connectProxy is an HTTP proxy that lets CONNECT through to one address, whatever name is asked for, asks for credentials, and ends
// tunnels that are quiet for a while.
type connectProxy struct {
	l      net.Listener
	target string
	auth   string
	quiet  time.Duration
	mu     sync.Mutex
	asked  []string // hosts
	cut    int
}

func newConnectProxy(t *testing.T, target, user string, quiet time.Duration) *connectProxy {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &connectProxy{l: l, target: target, auth: "Basic " + base64.StdEncoding.EncodeToString([]byte(user)), quiet: quiet}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go p.serve(c)
		}
	}()
	return p
}

func (p *connectProxy) serve(c net.Conn) {
	defer c.Close()
	r := bufio.NewReader(c)
	q, err := http.ReadRequest(r)
	if err != nil || q.Method != http.MethodConnect {
		return
	}
	p.mu.Lock()
	p.asked = append(p.asked, q.Host)
	p.mu.Unlock()
	if q.Header.Get("Proxy-Authorization") != p.auth {
		_, _ = io.WriteString(c, "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"proxy\"\r\nContent-Length: 0\r\n\r\n")
		return
	}
	out, err := net.Dial("tcp", p.target)
	if err != nil {
		return
	}
	defer out.Close()
	_, _ = io.WriteString(c, "HTTP/1.1 200 Connection established\r\n\r\n")
	timer := time.AfterFunc(p.quiet, func() {
		p.mu.Lock()
		p.cut++
		p.mu.Unlock()
		_, _ = c.Close(), out.Close()
	})
	defer timer.Stop()
	done := make(chan struct{}, 2)
	pass := func(to io.Writer, from io.Reader) {
		for b := make([]byte, 32<<10); ; {
			n, err := from.Read(b)
			timer.Reset(p.quiet)
			if _, werr := to.Write(b[:n]); err != nil || werr != nil {
				done <- struct{}{}
				return
			}
		}
	}
	go pass(out, r)
	go pass(c, out)
	<-done
}

// An edge behind an HTTPS proxy: the name of the cloud is the proxy's to look up, credentials are those of HTTPS_PROXY, a tunnel
// that is cut while nothing is asked costs nothing, NO_PROXY goes around it.
func TestThroughAProxy(t *testing.T) {
	if !verifying() {
		t.Skip("several processes: make verify")
	}
	base, err := startStack(t.Context(), stackConfig{draft: models.DraftName})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(base.stop)
	want := askEdge(t, base.edge.addr()).Text
	p := newConnectProxy(t, base.cloud.addr(), "me:secret", time.Second)
	start := func(env ...string) *server {
		t.Helper()
		e, err := launch{wrap: append([]string{"env"}, env...)}.start(t.Context(), t.TempDir(), "edge", "--listen", "127.0.0.1:0", "--admin", "", "--http", "",
			"--cloud", "dns:///cloud.test:7600", "--insecure", "--fallback", "fail", "--fallback-after", "2s", "--cache", "none")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(e.stop)
		return e
	}
	url := "HTTPS_PROXY=http://me:secret@" + p.l.Addr().String()
	e := start(url)
	for range 3 {
		if got := askEdge(t, e.addr()).Text; got != want {
			t.Errorf("%q, without a proxy %q", got, want)
		}
		time.Sleep(1500 * time.Millisecond) // the tunnel is cut
	}
	p.mu.Lock()
	if p.cut == 0 || p.asked[0] != "cloud.test:7600" {
		t.Errorf("%d tunnels cut, asked for %v", p.cut, p.asked)
	}
	p.mu.Unlock()
	for name, c := range map[string]struct{ env, want string }{
		"wrong password": {strings.Replace(url, "secret", "wrong", 1), "407"},
		"no proxy":       {url + "\x00NO_PROXY=.test", "cloud.test"},
	} {
		e := start(strings.Split(c.env, "\x00")...)
		code, _, errs := outrider(t, "", "generate", "--edge", e.addr(), "-n", "4", "Once")
		if code == 0 || !strings.Contains(errs, c.want) {
			t.Errorf("%s: %d %s, want %q in it", name, code, errs, c.want)
		}
	}
}
