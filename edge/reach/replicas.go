package reach

import (
	"slices"
	"time"
)

// Replica is what is known of one replica of the cloud. Times are since any fixed moment.
type Replica struct {
	Address string
	Report
	Seen  time.Duration // when it reported, 0: never
	avoid time.Duration // it failed or refused: until then others come first
}

// Report is what a replica says of itself, and how far it is.
type Report struct {
	RTT         time.Duration
	Queue, Step time.Duration // what a session waits for a step of the target, and what that takes; 0: nothing has run
	Sessions    int           // connected
	Places      int           // for them, 0: not told
	Draining    bool          // takes no new sessions
	Zone        string        // where it is, in the operator's words
}

// full says that a new session would be refused.
func (r *Report) full() bool { return r.Draining || r.Places > 0 && r.Sessions >= r.Places }

// What the choice goes by.
const (
	missRate    = 0.3              // of a token's time, a round trip is paid for about each third token
	otherZone   = 2.0              // a replica elsewhere must be better by so much
	better      = 1.25             // so must any, for an edge to leave the one that it has
	leastGain   = time.Millisecond // and by this much
	surveysLong = 2                // and in so many surveys in a row
	stayFor     = time.Minute      // at least, if nothing is wrong
	avoidFor    = 5 * time.Second  // that failed or refused
)

// score is the time that a token is expected to take there: the target's part stretched by how full it
// is, and the share of round trips that speculation cannot hide.
func (r *Report) score(zone string) float64 {
	busy := 0.0
	if r.Places > 0 {
		busy = float64(r.Sessions) / float64(r.Places)
	}
	s := float64(r.Queue+r.Step)*(1+busy) + missRate*float64(r.RTT)
	if zone != "" && r.Zone != zone {
		s *= otherZone
	}
	return s
}

// Replicas chooses among the replicas of a cloud. An edge keeps to one, whose memory holds the beginnings
// of its next prompts. To begin with, and now and then, it asks two others at random ("power of two choices", Mitzenmacher
// 2001: enough to spread load, and edges do not all run to the same one), and goes to the better only
// when that is so for long and by far. The zero value has none. It is not safe for concurrent use.
type Replicas struct {
	Zone string // of the edge: replicas of the same come first; empty: by time alone

	list    []Replica
	current string
	moved   time.Duration
	ahead   string // was better than the current one in the last wins surveys
	wins    int
}

// Set says which replicas there are; what is known of those that were there before stays.
func (r *Replicas) Set(addresses []string) {
	list := make([]Replica, 0, len(addresses))
	for _, a := range addresses {
		if slices.ContainsFunc(list, func(x Replica) bool { return x.Address == a }) {
			continue
		}
		known := Replica{Address: a}
		if old := r.of(a); old != nil {
			known = *old
		}
		list = append(list, known)
	}
	r.list = list
}

func (r *Replicas) of(address string) *Replica {
	if i := slices.IndexFunc(r.list, func(x Replica) bool { return x.Address == address }); i >= 0 {
		return &r.list[i]
	}
	return nil
}

// All are the replicas with what is known of them.
func (r *Replicas) All() []Replica { return slices.Clone(r.list) }

// Current is the replica in use; empty: none of the list.
func (r *Replicas) Current() string { return r.current }

// Use says which one is in use from now on.
func (r *Replicas) Use(address string, now time.Duration) {
	r.current, r.moved, r.ahead, r.wins = address, now, "", 0
}

// Settle makes the one in use count as used for long.
func (r *Replicas) Settle() { r.moved = -stayFor }

// Tell notes what a replica reports.
func (r *Replicas) Tell(address string, report Report, now time.Duration) {
	if x := r.of(address); x != nil {
		x.Report, x.Seen, x.avoid = report, max(now, 1), 0
	}
}

// Failed notes that a replica could not be reached, or refused a session.
func (r *Replicas) Failed(address string, now time.Duration) {
	if x := r.of(address); x != nil {
		x.avoid = max(now, 1) + avoidFor
	}
}

// Sample names the replicas to ask: the current one and two others. draw returns a number below n.
func (r *Replicas) Sample(draw func(n int) int) []string {
	var out []string
	if r.of(r.current) != nil {
		out = append(out, r.current)
	}
	for _, x := range r.others(draw, func(x *Replica) bool { return x.Address != r.current }) {
		out = append(out, x.Address)
	}
	return out
}

// others are two of those that qualify, at random.
func (r *Replicas) others(draw func(n int) int, qualifies func(*Replica) bool) []*Replica {
	var all []*Replica
	for i := range r.list {
		if qualifies(&r.list[i]) {
			all = append(all, &r.list[i])
		}
	}
	for k := 0; k < min(2, len(all)); k++ {
		i := k + draw(len(all)-k)
		all[k], all[i] = all[i], all[k]
	}
	return all[:min(2, len(all))]
}

// Decide says after a survey whether to go to another replica, and to which. When the current one takes no
// sessions or is gone from the list it goes at once, else only for a lasting advantage.
func (r *Replicas) Decide(now time.Duration) (string, bool) {
	var best *Replica
	for i := range r.list {
		x := &r.list[i]
		if x.Seen == 0 || x.avoid > now || x.full() || x.Address == r.current {
			continue
		}
		if best == nil || x.score(r.Zone) < best.score(r.Zone) {
			best = x
		}
	}
	if best == nil {
		r.ahead, r.wins = "", 0
		return "", false
	}
	here := r.of(r.current)
	if here == nil || here.full() || here.avoid > now {
		return best.Address, true
	}
	if here.Seen == 0 {
		return "", false
	}
	ours, theirs := here.score(r.Zone), best.score(r.Zone)
	if theirs*better > ours || ours-theirs < float64(leastGain) {
		r.ahead, r.wins = "", 0
		return "", false
	}
	if r.ahead != best.Address {
		r.ahead, r.wins = best.Address, 0
	}
	r.wins++
	return best.Address, r.wins >= surveysLong && now-r.moved >= stayFor
}

// Next is another replica to go to now, as the current one is of no use: the better of two by what was last
// known, else the one whose failure is the longest ago. It is false where there is no other.
func (r *Replicas) Next(now time.Duration, draw func(n int) int) (string, bool) {
	two := r.others(draw, func(x *Replica) bool { return x.Address != r.current && x.avoid <= now && !x.full() })
	switch {
	case len(two) == 0:
		two = r.others(draw, func(x *Replica) bool { return x.Address != r.current })
		slices.SortFunc(two, func(a, b *Replica) int { return int(a.avoid - b.avoid) })
	case len(two) == 2 && two[0].Seen > 0 && two[1].Seen > 0 && two[1].score(r.Zone) < two[0].score(r.Zone):
		two[0] = two[1]
	}
	if len(two) == 0 {
		return "", false
	}
	return two[0].Address, true
}
