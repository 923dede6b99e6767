package speculative

import (
	"slices"
	"time"
)

// upflow is what an edge knows of the way up, learnt from what commits tell of the proposals that had
// arrived: how long one takes, whether they pile up before a thin link, and when the verifier's next
// step begins. Times are the edge's own. A trip is the way up and the way of the news back down.
type upflow struct {
	sent   []Time // when the proposals were sent that are not known to have arrived, oldest first
	known  int    // proposals known to have arrived
	least  [2]Time
	until  Time    // the older one of least is dropped then
	trip   Time    // smoothed
	vary   Time    // smoothed deviation
	late   [3]Time // how much longer than the least the last trips took
	told   int     // commits that told of trips
	spoken bool    // a commit has come
	gap    Time    // between proposals while they pile up; 0: they do not
	hold   Time    // nothing is sent before
	heard  Time    // when the last commit arrived: as seen from here its step ended then, and the next began
	step   Time    // how long steps take, smoothed
	swing  Time    // by how much they differ
}

const (
	upflowKeeps = 5 * time.Second // a least trip is believed for this to twice this
	upflowSlack = 12 * time.Millisecond
	upflowLate  = 8                     // a trip is long when it takes slack and 1/upflowLate more than the least
	upflowMost  = time.Second           // between proposals, however much piles up
	upflowBurst = 8                     // proposals before anything is heard ...
	upflowBlind = 16 * time.Millisecond // ... and how far apart others are until then
	upflowMarks = 1024
	upflowSpare = 2 * time.Millisecond // what a machine takes between a message's arrival and its step
	upflowTwice = 3 * time.Millisecond
)

func (u *upflow) reset() { *u = upflow{} }

// note takes notice of a proposal that is sent.
func (u *upflow) note(now Time) {
	if len(u.sent) < upflowMarks { // an older cloud tells of no arrivals
		u.sent = append(u.sent, now)
	}
}

// commit takes in what a commit that arrives now tells.
func (u *upflow) commit(now Time, c *Commit) {
	u.spoken = true
	if c.Score <= 0 {
		return // several passes in one, after a resume
	}
	since := now - u.heard
	u.heard = now
	if u.step == 0 {
		u.step = c.Score
	}
	off := c.Score - u.step
	u.step += off / 8
	u.swing += (off.Abs() - u.swing) / 8
	n := min(c.Heard-u.known, len(u.sent))
	if n < 0 || c.Heard == 0 {
		return
	}
	late := Time(0)
	if n > 0 {
		trip := now - c.Age - u.sent[n-1]
		if c.Age < 0 || trip <= 0 {
			return // nobody's clock says this
		}
		u.measure(now, trip)
		late = trip - u.shortest()
	}
	if n < len(u.sent) { // this one had not come by then
		late = max(late, now-u.sent[n]-u.shortest())
	}
	u.sent = slices.Delete(u.sent, 0, n)
	u.known += n
	u.late = [3]Time{late, u.late[0], u.late[1]}
	if u.told++; u.told > len(u.late) {
		late = min(late, u.late[1], u.late[2])
	}
	u.pace(now, late, since, n)
}

func (u *upflow) measure(now, trip Time) {
	if now >= u.until {
		u.least, u.until = [2]Time{u.least[1], 0}, now+upflowKeeps
	}
	if u.least[1] == 0 || trip < u.least[1] {
		u.least[1] = trip
	}
	if u.trip == 0 {
		u.trip, u.vary = trip, trip/16
		return
	}
	off := trip - u.trip
	u.trip += off / 8
	u.vary += (off.Abs() - u.vary) / 4
}

// shortest is the least trip of late, the one that finds no queue.
func (u *upflow) shortest() Time {
	if u.least[0] == 0 || u.least[1] > 0 && u.least[1] < u.least[0] {
		return u.least[1]
	}
	return u.least[0]
}

// pace reacts to how much later than an empty link's a proposal came: what waits drains, and then
// proposals are as far apart as they arrived. Without a queue they move closer again.
func (u *upflow) pace(now, late, took Time, n int) {
	if late <= upflowSlack+u.shortest()/upflowLate {
		if u.gap -= u.gap / 16; u.gap < time.Millisecond {
			u.gap = 0
		}
		return
	}
	if n > 0 {
		u.gap = max(u.gap, took/Time(n))
	}
	u.gap = min(max(u.gap*9/8, 2*time.Millisecond), upflowMost)
	u.hold = now + min(late, upflowMost)
}

// earliest is before when no proposal should go, for what is or may be piling up.
func (u *upflow) earliest(flushed Time) Time {
	if !u.spoken && len(u.sent) >= upflowBurst {
		return flushed + upflowBlind
	}
	if u.gap == 0 || len(u.sent) == 0 { // what all has arrived is no pile
		return 0
	}
	return min(max(flushed+u.gap, u.hold), flushed+upflowMost)
}

// boundary is the last moment at which a proposal still comes before a step's beginning, with time to
// spare for how trips vary; false when nothing is known of the steps.
func (u *upflow) boundary(now Time) (Time, bool) {
	if u.step <= 0 || u.trip == 0 || now > u.heard+2*u.step {
		return 0, false
	}
	last := u.heard - u.trip - upflowSpare - u.swing
	safe := 2 * u.vary
	at := u.next(now, last-safe)
	if safe > upflowTwice { // a second one takes what was drafted since, and mostly comes in time
		at = min(at, u.next(now, last))
	}
	return at, true
}

// next is the first moment from now on that is whole steps away from at.
func (u *upflow) next(now, at Time) Time {
	if n := now - at; n > 0 {
		at += (n + u.step - 1) / u.step * u.step
	}
	return at
}
