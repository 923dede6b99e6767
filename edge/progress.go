package edge

import (
	"time"

	"github.com/outrider-llm/outrider/speculative"
)

// Progress tells how a generation goes while it goes on; counts are since its beginning.
type Progress struct {
	At       time.Duration // since the request
	Linked   bool          // a stream to the cloud is open
	Alone    bool          // the draft finishes by itself, with no cloud in reach
	Where    string        // OnDevice, Cooperative or InCloud: where it is written now
	Tokens   int           // given out
	Depth    int           // drafted tokens that wait for a verdict, on the most probable path
	Passes   int           // target passes that brought tokens
	Step     time.Duration // mean of a pass, the wait for it included; 0: none yet
	Plain    time.Duration // the same of the passes that judged no proposal; 0: none yet
	Uplink   int           // bytes of Propose and Ack messages
	Downlink int           // bytes of Commit messages
	Resumes  int           // streams opened after the first
	RTT      time.Duration // to the cloud; 0: not measured
}

// passTimes sums what commits say about the target's passes.
type passTimes struct {
	all, plain         int
	allTime, plainTime time.Duration
}

func (p *passTimes) add(c speculative.Commit) {
	if len(c.Tokens) == 0 {
		return
	}
	t := c.Queue + c.Score
	p.all++
	p.allTime += t
	if c.Fates[0] == speculative.RunAhead {
		p.plain++
		p.plainTime += t
	}
}

func mean(t time.Duration, n int) time.Duration { return t / time.Duration(max(1, n)) }

// progress is read by the session's goroutine when it hands out an event.
func (s *session) progress() Progress {
	return Progress{At: s.now(), Linked: s.linked, Alone: s.alone != nil && s.alone.fallback, Where: s.route.Where, Tokens: s.sum.Tokens, Depth: len(s.p.Pending()),
		Passes: s.passes.all, Step: mean(s.passes.allTime, s.passes.all), Plain: mean(s.passes.plainTime, s.passes.plain),
		Uplink: s.sum.Uplink, Downlink: s.sum.Downlink, Resumes: s.sum.Resumes, RTT: time.Duration(s.e.link.rtt.Load())}
}
