package edge

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/status"

	"github.com/outrider-llm/outrider/edge/reach"
	outriderv1 "github.com/outrider-llm/outrider/proto/outrider/v1"
)

// Addresses are the replicas that a cloud's address names, with commas between: host:port, dns:///host:port
// (each address behind the name is one) or xds:///name.
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

// How replicas are asked how busy they are.
const (
	surveyEvery   = 30 * time.Second // about, while there are sessions
	surveyTimeout = 2 * time.Second
)

// replicas is what an uplink knows of the replicas of its cloud. The uplink's lock guards it.
type replicas struct {
	reach.Replicas
	names   []string            // as configured
	finders []*finder           // of those that stand for several
	found   map[string][]string // by name
	hosts   map[string]string   // name that the certificate of a found address is for
	at      string              // dialled
	moved   time.Duration
	next    time.Duration // survey
	asking  bool
}

// begin takes up the names of a cloud and chooses the replica to begin with. The lock is held; what was there before must
// be closed by the caller.
func (l *uplink) begin(cloud string) error {
	r := replicas{names: Addresses(cloud), found: map[string][]string{}, hosts: map[string]string{}, moved: -moveEvery}
	r.Zone = l.c.Zone
	r.Set(r.names)
	r.at = r.names[rand.IntN(len(r.names))]
	for _, name := range r.names {
		if err := CheckTarget(name); err != nil {
			return err
		}
	}
	l.address, l.replicas = cloud, r
	for _, name := range r.names {
		u, several := discovered(name)
		if !several {
			continue
		}
		f, err := l.find(name, u, l.learned)
		if err != nil {
			return err
		}
		l.replicas.finders = append(l.replicas.finders, f)
	}
	if len(r.names) > 1 {
		l.watching.Go(l.survey)
	}
	return nil
}

// learned takes the addresses that a name stands for.
func (l *uplink) learned(f *finder, addresses []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := &l.replicas
	if l.ctx.Err() != nil || !slices.Contains(r.names, f.name) || len(addresses) == 0 || slices.Equal(r.found[f.name], addresses) {
		return
	}
	r.found[f.name] = addresses
	var all []string
	for _, n := range r.names {
		if len(r.found[n]) == 0 {
			all = append(all, n)
		}
		for _, a := range r.found[n] {
			r.hosts[a] = f.host
			all = append(all, a)
		}
	}
	r.Set(all)
	l.c.Logger.Debug("replicas of the cloud", "cloud", f.name, "addresses", addresses)
	if len(all) > 1 || r.Current() != "" {
		l.watching.Go(l.survey)
	}
}

// lookUp makes the finders ask again. The lock is held.
func (l *uplink) lookUp() {
	for _, f := range l.replicas.finders {
		f.r.ResolveNow(resolver.ResolveNowOptions{})
	}
}

// dial connects to one replica, by its name or address. The lock is held.
func (l *uplink) dial(address string) (*grpc.ClientConn, error) {
	options := l.options()
	if host, found := l.replicas.hosts[address]; found {
		address, options = "passthrough:///"+address, append(options, grpc.WithAuthority(host))
	}
	return grpc.NewClient(address, append(options, l.c.Dial...)...)
}

// elsewhere moves to another replica, unless another stream has done so since conn was taken. It says whether
// the next stream will go over another connection.
func (l *uplink) elsewhere(conn *grpc.ClientConn, refused bool, why string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	r, now := &l.replicas, l.now()
	switch {
	case l.ctx.Err() != nil || conn == nil:
		return false
	case l.conn != conn:
		return true
	case now-r.moved < moveEvery:
		return false
	}
	r.Failed(r.at, now)
	l.lookUp()
	if r.Current() == "" {
		r.Use(r.at, now)
	}
	to, ok := r.Next(now, rand.IntN)
	if !ok && !(refused && stands(r.at)) {
		return false
	}
	if !ok {
		to = r.at
	}
	fresh, err := l.dial(to)
	if err != nil {
		return false // the address was taken before
	}
	l.use(to, fresh, why)
	return true
}

// stands says whether there may be more replicas behind a name, of which gRPC chooses one: after a
// refusal it is dialled anew. Of those that cannot be reached gRPC tries all by itself.
func stands(name string) bool {
	host, _, err := net.SplitHostPort(name)
	return schemed(name) || err == nil && net.ParseIP(host) == nil && host != "localhost"
}

// use makes streams go to another replica from now on. The lock is held.
func (l *uplink) use(to string, fresh *grpc.ClientConn, why string) {
	r := &l.replicas
	r.at, r.moved = to, l.now()
	r.Use(to, r.moved)
	l.c.Logger.Info("going to another replica of the cloud", "cloud", to, "why", why)
	l.c.Metrics.moves.Inc()
	l.swap(fresh)
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

// surveyDue says whether replicas are to be asked now.
func (l *uplink) surveyDue() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.replicas.All()) > 1 && l.now() >= l.replicas.next
}

// survey asks the replica in use and two others how busy they are, and goes to the best if that is worth it.
func (l *uplink) survey() {
	l.mu.Lock()
	r := &l.replicas
	if r.asking || l.ctx.Err() != nil {
		l.mu.Unlock()
		return
	}
	r.asking = true
	l.lookUp()
	address, here, conn := l.address, r.at, l.conn
	conns := map[string]*grpc.ClientConn{}
	for _, a := range r.Sample(rand.IntN) {
		if a == here {
			conns[a] = conn
		} else if c, err := l.dial(a); err == nil {
			conns[a] = c
		}
	}
	l.mu.Unlock()

	reports := l.ask(conns)

	l.mu.Lock()
	defer l.mu.Unlock()
	if address == l.address { // else it was about another cloud
		l.decide(conns, reports, here)
	}
	for a, c := range conns {
		if a != here && c != l.conn {
			_ = c.Close()
		}
	}
}

// decide goes by what the replicas answered; those that did not are nil. The lock is held.
func (l *uplink) decide(conns map[string]*grpc.ClientConn, reports map[string]*reach.Report, here string) {
	r, now := &l.replicas, l.now()
	r.asking, r.next = false, now+l.c.survey*3/4+rand.N(l.c.survey/2)
	for a := range conns {
		if reports[a] != nil {
			r.Tell(a, *reports[a], now)
		} else {
			r.Failed(a, now)
		}
	}
	to, move := r.Decide(now)
	switch {
	case !move || r.at != here: // or a failure has moved it meanwhile
	case to == here:
		r.Use(to, now)
	case conns[to] != nil:
		x := reports[to]
		l.use(to, conns[to], fmt.Sprintf("it is the better one: round trip %s, wait %s, step %s", x.RTT.Round(time.Microsecond*100), x.Queue, x.Step))
	}
}

// ask asks several replicas at once.
func (l *uplink) ask(conns map[string]*grpc.ClientConn) map[string]*reach.Report {
	ctx, cancel := context.WithTimeout(l.ctx, surveyTimeout)
	defer cancel()
	var wg sync.WaitGroup
	var mu sync.Mutex
	out := map[string]*reach.Report{}
	for a, c := range conns {
		wg.Go(func() {
			rep, err := l.report(ctx, c)
			if err != nil {
				l.c.Logger.Debug("a replica does not answer", "cloud", a, "error", reason(err))
				return
			}
			mu.Lock()
			defer mu.Unlock()
			out[a] = rep
		})
	}
	wg.Wait()
	return out
}

// report asks one replica, twice: only the second answer tells the round trip.
func (l *uplink) report(ctx context.Context, conn *grpc.ClientConn) (*reach.Report, error) {
	client := outriderv1.NewDecodeServiceClient(conn)
	out := &reach.Report{}
	for range 2 {
		begun := time.Now()
		m, err := client.ListModels(ctx, &outriderv1.ListModelsRequest{})
		if err != nil {
			return nil, err
		}
		out.RTT = time.Since(begun)
		i := slices.IndexFunc(m.GetModels(), func(t *outriderv1.TargetInfo) bool { return l.c.Model == "" || t.GetName() == l.c.Model })
		if i < 0 {
			return nil, fmt.Errorf("it does not serve %q", l.c.Model)
		}
		t := m.GetModels()[i]
		us := func(n uint32) time.Duration { return time.Duration(n) * time.Microsecond }
		load := t.GetLoad()
		out.Queue, out.Step, out.Sessions, out.Places = us(load.GetQueueUs()), us(load.GetStepUs()), int(load.GetSessions()), int(load.GetPlaces())
		out.Zone, out.Draining = load.GetZone(), load.GetDraining() || pending(t) != ""
	}
	return out, nil
}

// moves says whether a stream's end is one that another replica may do better: the cloud drains or is full, or
// the connection is gone.
func moves(err error) bool {
	c := status.Code(err)
	return c == codes.ResourceExhausted || c == codes.Unavailable || errors.Is(err, errEnded)
}
