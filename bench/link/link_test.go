package link

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// echo serves connections by sending back what arrives.
func echo(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(c, c)
				_ = c.Close()
			}()
		}
	}()
	return l.Addr().String()
}

func open(t *testing.T, c Config) (*Link, net.Conn) {
	t.Helper()
	if c.Target == "" {
		c.Target = echo(t)
	}
	k, err := Listen(t.Context(), "127.0.0.1:0", c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = k.Close() })
	return k, dial(t, k)
}

func dial(t *testing.T, k *Link) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", k.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// roundTrip says how long one byte takes there and back.
func roundTrip(t *testing.T, conn net.Conn) time.Duration {
	t.Helper()
	begin := time.Now()
	if _, err := conn.Write([]byte{1}); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	return time.Since(begin)
}

func TestDataIsDelayedAndIntact(t *testing.T) {
	const rtt = 40 * time.Millisecond
	k, conn := open(t, Config{RTT: rtt, Jitter: 3 * time.Millisecond})
	if d := roundTrip(t, conn); d < 2*rtt {
		t.Errorf("the first exchange took %s, the handshake and it need %s", d, 2*rtt)
	}
	if d := roundTrip(t, conn); d < rtt {
		t.Errorf("a round trip took %s, less than %s", d, rtt)
	}
	data := make([]byte, 1<<20)
	_, _ = rand.Read(data)
	go func() {
		_, _ = conn.Write(data)
		_ = conn.(*net.TCPConn).CloseWrite()
	}()
	back, err := io.ReadAll(conn)
	if err != nil || !bytes.Equal(back, data) {
		t.Fatalf("got %d bytes back, error %v: not what was sent", len(back), err)
	}
	if up, down := k.Bytes(); up != int64(len(data))+2 || down != up {
		t.Errorf("counted %d up, %d down", up, down)
	}
}

func TestRateIsShared(t *testing.T) {
	k, a := open(t, Config{Up: Way{Rate: 1_600_000}})
	b := dial(t, k)
	begin := time.Now()
	for _, c := range []net.Conn{a, b} {
		go func() { _, _ = c.Write(make([]byte, 10_000)) }()
	}
	for _, c := range []net.Conn{a, b} {
		if _, err := io.ReadFull(c, make([]byte, 10_000)); err != nil {
			t.Fatal(err)
		}
	}
	if d := time.Since(begin); d < 100*time.Millisecond {
		t.Errorf("20 kB passed in %s, at 200 kB/s that takes 100 ms", d)
	}
}

func TestCutBreaksConnections(t *testing.T) {
	k, conn := open(t, Config{RTT: time.Millisecond})
	roundTrip(t, conn)
	k.Cut()
	_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := conn.Read(make([]byte, 1)); err == nil || isTimeout(err) {
		t.Fatalf("reading after the cut: %v", err)
	}
	roundTrip(t, dial(t, k))
}

func TestDownHangsAndRefuses(t *testing.T) {
	k, conn := open(t, Config{})
	roundTrip(t, conn)
	k.SetDown(true)
	if _, err := conn.Write([]byte{7}); err != nil {
		t.Fatal(err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if _, err := conn.Read(make([]byte, 1)); !isTimeout(err) {
		t.Fatalf("a link that is down let something through: %v", err)
	}
	refused(t, k)
	k.SetDown(false)
	_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	got := make([]byte, 1)
	if _, err := io.ReadFull(conn, got); err != nil || got[0] != 7 {
		t.Fatalf("after the link came back: %v %v", got, err)
	}
}

func TestUnreachableTargetClosesTheConnection(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	k, err := Listen(t.Context(), "127.0.0.1:0", Config{Target: l.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = k.Close() }()
	refused(t, k)
}

// refused checks that a new connection is reset, at the latest when it is read from.
func refused(t *testing.T, k *Link) {
	t.Helper()
	conn, err := net.Dial("tcp", k.Addr())
	if err != nil {
		return
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := conn.Read(make([]byte, 1)); err == nil || isTimeout(err) {
		t.Fatalf("the connection was not refused: %v", err)
	}
}

func TestCloseLeavesNothing(t *testing.T) {
	k, conn := open(t, Config{RTT: time.Hour})
	_, _ = conn.Write([]byte("never delivered"))
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := net.Dial("tcp", k.Addr()); err == nil {
		t.Error("the link still listens")
	}
}

func isTimeout(err error) bool {
	var e net.Error
	return errors.As(err, &e) && e.Timeout()
}
