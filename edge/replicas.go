package edge

import (
	"errors"
	"math/rand/v2"
	"net"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/status"
)

// Addresses are the replicas that a cloud's address names: host:port, or several of them with commas between.
func Addresses(cloud string) []string {
	out := strings.Split(cloud, ",")
	for i := range out {
		out[i] = strings.TrimSpace(out[i])
	}
	return out
}

// shuffled lets edges that find several addresses under one name begin with different ones.
const shuffled = `{"loadBalancingConfig":[{"pick_first":{"shuffleAddressList":true}}]}`

// moveEvery is how often an edge goes to another replica at most: when all are full, they are asked in turn
// and not in a whirl.
const moveEvery = 200 * time.Millisecond

// several says whether there may be another replica: a further address, or, where this one answered that it
// takes no session, one more behind the same name. Of those that cannot be reached gRPC tries all by itself.
func several(cloud string, refused bool) bool {
	list := Addresses(cloud)
	host, _, err := net.SplitHostPort(list[0])
	return len(list) > 1 || refused && err == nil && net.ParseIP(host) == nil && host != "localhost"
}

// elsewhere moves to another replica, unless another stream has done so since conn was taken. It says whether
// the next stream will go over another connection.
func (l *uplink) elsewhere(conn *grpc.ClientConn, refused bool, why string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.ctx.Err() != nil || conn == nil:
		return false
	case l.conn != conn:
		return true
	case !several(l.address, refused) || l.now()-l.moved < moveEvery:
		return false
	}
	list := Addresses(l.address)
	l.at = (l.at + 1) % len(list)
	fresh, err := l.dial(l.address)
	if err != nil {
		return false // the address was taken before
	}
	l.moved = l.now()
	l.c.Logger.Info("going to another replica of the cloud", "cloud", list[l.at], "why", why)
	l.swap(fresh)
	return true
}

// swap makes streams that are opened from now on use another connection. The lock is held.
func (l *uplink) swap(fresh *grpc.ClientConn) {
	fresh.Connect()
	old := l.conn
	l.conn = fresh
	l.watching.Go(func() {
		old.WaitForStateChange(l.ctx, connectivity.Ready) // at once when it is not ready
		_ = old.Close()                                   // its streams end and are opened again
	})
}

// begin chooses the replica to begin with.
func (l *uplink) begin(cloud string) { l.address, l.at = cloud, rand.IntN(len(Addresses(cloud))) }

// moves says whether a stream's end is one that another replica may do better: the cloud drains or is full, or
// the connection is gone.
func moves(err error) bool {
	c := status.Code(err)
	return c == codes.ResourceExhausted || c == codes.Unavailable || errors.Is(err, errEnded)
}
