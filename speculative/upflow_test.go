package speculative

import (
	"testing"
	"time"
)

const ms = time.Millisecond

// flowRig plays a cloud with steps of 40 ms at the end of a way of 20 ms each way; slow is how long the
// way takes for one proposal, of which one comes after the other.
type flowRig struct {
	u       upflow
	now     Time
	slow    Time
	free    Time
	arrives []Time
}

func (r *flowRig) send() {
	r.u.note(r.now)
	r.free = max(r.free, r.now) + r.slow
	r.arrives = append(r.arrives, r.free+20*ms)
}

// commit is the one of a step that began at the given time.
func (r *flowRig) commit(began Time) {
	c := Commit{Score: 40 * ms}
	end := began + c.Score
	for _, at := range r.arrives {
		if at <= end {
			c.Heard++
			c.Age = end - at
		}
	}
	r.now = end + 20*ms
	r.u.commit(r.now, &c)
}

func TestBoundaryIsTheLastMomentThatCounts(t *testing.T) {
	var r flowRig
	if _, ok := r.u.boundary(0); ok {
		t.Fatal("nothing was heard and a boundary is known")
	}
	for i := 1; i < 40; i++ {
		began := Time(i) * 40 * ms
		r.now = began - 25*ms // comes 5 ms before the step
		r.send()
		r.commit(began)
	}
	if r.u.trip != 40*ms || r.u.step != 40*ms || r.u.gap != 0 {
		t.Fatalf("a trip of 40 ms is taken for %s, a step of 40 ms for %s, gap %s", r.u.trip, r.u.step, r.u.gap)
	}
	// It is 1,620 ms, and the step that began at 1,600 runs. For the one at 1,640 it is too late by what the
	// machine takes; what is to be in the one at 1,680 has to be sent by 1,660 less that.
	at, ok := r.u.boundary(r.now)
	if want := 1680*ms - 20*ms - upflowSpare; !ok || at > want || at < want-ms {
		t.Errorf("at %s the boundary is %s (%t), want %s", r.now, at, ok, want)
	}
	if next, _ := r.u.boundary(at + 1); next != at+40*ms {
		t.Errorf("after it comes %s", next-at)
	}
	if _, ok := r.u.boundary(r.now + 100*ms); ok {
		t.Error("the verifier is silent and a boundary is told")
	}
}

func TestPileIsSeenAndGoes(t *testing.T) {
	r := flowRig{slow: 10 * ms} // 100 proposals a second
	sent, last := 0, Time(0)
	for i := range 200 {
		began := Time(i) * 40 * ms
		for t := began + 20*ms; t < began+60*ms; t += 4 * ms { // 250 a second are wanted
			if r.now = t; t >= r.u.earliest(last) {
				r.send()
				last = t
				sent++
			}
		}
		r.commit(began)
	}
	if waits := r.free - r.now; waits > 100*ms {
		t.Errorf("after 8 s with 250 proposals a second wanted and 100 possible %s of them wait", waits)
	}
	if rate := float64(sent) / r.now.Seconds(); rate < 50 || rate > 110 {
		t.Errorf("%.0f proposals a second went over a link that takes 100", rate)
	}
	r.slow = 0
	for i := 200; i < 400; i++ {
		r.now = Time(i)*40*ms - 25*ms
		r.send()
		r.commit(Time(i) * 40 * ms)
	}
	if r.u.gap != 0 {
		t.Errorf("the link is free and proposals are kept %s apart", r.u.gap)
	}
}

func TestJitterIsNoPile(t *testing.T) {
	var r flowRig
	for i := range 200 {
		began := Time(i) * 40 * ms
		for k := range 4 {
			r.now = began - Time(30+k*8)*ms
			r.send()
			r.arrives[len(r.arrives)-1] += Time(i*7%5) * 2 * ms
		}
		r.commit(began)
		if r.u.gap != 0 {
			t.Fatalf("8 ms of jitter are taken for a pile at step %d", i)
		}
	}
}

func TestSilentCloudHoldsNothingBack(t *testing.T) {
	var u upflow
	for i := range 2 * upflowMarks {
		u.note(Time(i) * ms)
		u.commit(Time(i)*ms, &Commit{Score: ms}) // an older cloud tells of no arrivals
	}
	if at := u.earliest(5 * time.Second); at != 0 || len(u.sent) > upflowMarks {
		t.Errorf("held until %s, %d marks", at, len(u.sent))
	}
	u.reset()
	u.commit(ms, &Commit{Score: ms, Heard: 1 << 30, Age: -1 << 40}) // a hostile one
	u.note(2 * ms)
	u.commit(3*ms, &Commit{Score: ms, Heard: 1, Age: 1 << 60})
	if u.trip != 0 {
		t.Errorf("an age of years gives a trip of %s", u.trip)
	}
}
