//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/outrider-llm/outrider/backend/mock"
)

// netns is a link of the kernel's own: three network namespaces in a row. From edge to router there is a
// veth pair with a token-bucket filter on either end, from router to cloud a pair of TUN devices, between
// which this process carries packets, each after half a round trip.
//
//	edge 10.77.1.1 --veth, tbf-- 10.77.1.2 router 10.77.2.1 --TUN, delay-- 10.77.2.2 cloud
type netns struct {
	t    *testing.T
	name string // prefix of the namespaces
	tuns [2]*os.File
	wg   sync.WaitGroup
}

const netnsCloud = "10.77.2.2"

// newNetns builds the link; the test is skipped where the system does not allow it.
func newNetns(t *testing.T, up, down string, rtt time.Duration) *netns {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root, to make network namespaces")
	}
	for _, tool := range []string{"ip", "tc"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("needs %s: install iproute2", tool)
		}
	}
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		t.Skipf("needs TUN devices: %v", err)
	}
	n := &netns{t: t, name: fmt.Sprintf("outr%d", os.Getpid())}
	for _, ns := range []string{"e", "r", "c"} {
		if out, err := exec.Command("ip", "netns", "add", n.ns(ns)).CombinedOutput(); err != nil {
			t.Skipf("this system makes no network namespaces: %s", bytes.TrimSpace(out))
		}
		t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", n.ns(ns)).Run() })
		n.ip("-n", n.ns(ns), "link", "set", "lo", "up")
	}
	n.ip("link", "add", "ve", "netns", n.ns("e"), "type", "veth", "peer", "name", "vr", "netns", n.ns("r"))
	n.device("e", "ve", "10.77.1.1/24")
	n.device("r", "vr", "10.77.1.2/24")
	n.shape("e", "ve", up)
	n.shape("r", "vr", down)
	for i, ns := range []string{"r", "c"} {
		n.tuns[i] = n.tun(ns)
		n.device(ns, "outr0", fmt.Sprintf("10.77.2.%d/24", i+1))
	}
	n.ip("-n", n.ns("e"), "route", "add", "default", "via", "10.77.1.2")
	n.ip("-n", n.ns("c"), "route", "add", "default", "via", "10.77.2.1")
	n.run("ip", "netns", "exec", n.ns("r"), "sysctl", "-qw", "net.ipv4.ip_forward=1")
	for i := range n.tuns {
		n.carry(n.tuns[i], n.tuns[1-i], rtt/2)
	}
	t.Cleanup(func() {
		for _, f := range n.tuns {
			_ = f.Close() // ends its reader
		}
		n.wg.Wait()
	})
	return n
}

func (n *netns) ns(which string) string { return n.name + which }

func (n *netns) run(args ...string) {
	n.t.Helper()
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		n.t.Fatalf("%v: %v: %s", args, err, out)
	}
}

func (n *netns) ip(args ...string) { n.t.Helper(); n.run(append([]string{"ip"}, args...)...) }

func (n *netns) device(ns, name, addr string) {
	n.t.Helper()
	n.ip("-n", n.ns(ns), "addr", "add", addr, "dev", name)
	n.ip("-n", n.ns(ns), "link", "set", name, "up")
}

// shape bounds what leaves a device.
func (n *netns) shape(ns, device, rate string) {
	n.t.Helper()
	n.run("ip", "netns", "exec", n.ns(ns), "tc", "qdisc", "add", "dev", device, "root", "tbf", "rate", rate, "burst", "1600", "latency", "3s")
}

// within runs f on a thread that is in a namespace: sockets and devices that it opens belong there.
func (n *netns) within(ns string, f func() error) error {
	errs := make(chan error)
	go func() { // its thread ends with it, unless it comes back to where it was
		runtime.LockOSThread()
		home, err := os.Open("/proc/thread-self/ns/net")
		if err != nil {
			errs <- err
			return
		}
		defer func() { _ = home.Close() }() // was only read
		away, err := os.Open("/run/netns/" + n.ns(ns))
		if err != nil {
			errs <- err
			return
		}
		defer func() { _ = away.Close() }() // likewise
		if err := unix.Setns(int(away.Fd()), unix.CLONE_NEWNET); err != nil {
			errs <- err
			return
		}
		err = f()
		if unix.Setns(int(home.Fd()), unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
		errs <- err
	}()
	return <-errs
}

// tun opens the TUN device outr0 of a namespace.
func (n *netns) tun(ns string) *os.File {
	n.t.Helper()
	var file *os.File
	err := n.within(ns, func() error {
		fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
		if err != nil {
			return err
		}
		var request struct {
			name  [unix.IFNAMSIZ]byte
			flags uint16
			_     [22]byte
		}
		copy(request.name[:], "outr0")
		request.flags = unix.IFF_TUN | unix.IFF_NO_PI
		if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.TUNSETIFF, uintptr(unsafe.Pointer(&request))); e != 0 {
			_ = unix.Close(fd) // the other error is told
			return e
		}
		file = os.NewFile(uintptr(fd), "tun")
		return nil
	})
	if err != nil {
		n.t.Skipf("this system makes no TUN devices: %v", err)
	}
	return file
}

// carry takes packets from one device to another, each after a delay.
func (n *netns) carry(from, to *os.File, delay time.Duration) {
	type packet struct {
		data []byte
		at   time.Time
	}
	flight := make(chan packet, 1024)
	n.wg.Go(func() {
		for p := range flight {
			mock.SleepUntil(nil, p.at)
			_, _ = to.Write(p.data) // a packet that is not taken is lost, as packets are
		}
	})
	n.wg.Go(func() {
		defer close(flight)
		for {
			buf := make([]byte, 2048)
			k, err := from.Read(buf)
			if err != nil {
				return
			}
			flight <- packet{buf[:k], time.Now().Add(delay)}
		}
	})
}

// dial connects from the edge's namespace.
func (n *netns) dial(ctx context.Context, addr string) (c net.Conn, err error) {
	err = errors.Join(n.within("e", func() error {
		c, err = (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		return err
	}))
	return c, err
}

// listen listens in the cloud's namespace.
func (n *netns) listen() (l net.Listener, err error) {
	err = n.within("c", func() error {
		l, err = net.Listen("tcp", netnsCloud+":0")
		return err
	})
	return l, err
}
