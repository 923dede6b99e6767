package edge

import (
	"time"

	"github.com/outrider-llm/outrider/drafter/lookup"
	"github.com/outrider-llm/outrider/drafter/suffix"
	"github.com/outrider-llm/outrider/speculative"
)

// Source is where a proposal comes from that is not the draft's.
type Source uint8

// The sources.
const (
	SourceLookup Source = iota
	SourcePrediction
	SourceSuffix
	sources
)

func (s Source) String() string { return [...]string{"lookup", "prediction", "suffix"}[min(s, 2)] }

// Proposed counts a source's proposals: for each position the last that it made there.
type Proposed struct{ Proposed, Accepted int }

// guessed is what a source proposes for a position.
type guessed struct {
	token  Token
	sure   float64 // share of such guesses that were right, measured in this session
	source Source
}

// best is the likeliest of what the sources know; each tells how often it was right, so they compare.
func (o *source) best(log, path []Token) (g guessed, ok bool) {
	if !o.quiet {
		l, found := o.l.Guess(path)
		g, ok = guessed{l.Token, l.Confidence, SourceLookup}, found
		if l.Source == lookup.Prediction {
			g.source = SourcePrediction
		}
	}
	if o.earlier == nil {
		return g, ok
	}
	const tail = 32 // more than a guess looks at
	o.end = append(append(o.end[:0], log[max(0, len(log)-tail):]...), path...)
	if e, found := o.earlier.Guess(o.end); found && (!ok || e.Confidence > g.sure) {
		g, ok = guessed{e.Token, e.Confidence, SourceSuffix}, true
	}
	return g, ok
}

// tell takes what was committed since.
func (o *source) tell(log []Token) {
	if o.earlier != nil {
		for i := o.told; i < len(log); i++ {
			o.earlier.Observe(log[:i], log[i])
		}
	}
	o.l.Commit(log[o.told:])
	o.told = len(log)
}

// partition says what this session's answer may be learned for. Text goes only where it came from: to the same
// target of the same cloud, for the same user, under the same care for personal data.
func (s *session) partition() suffix.Key {
	care := max(s.r.Privacy, s.e.c.Privacy)
	return suffix.Key{User: s.r.User, Label: s.e.c.Cloud + " " + s.r.Model + " " + care.String(), Vocabulary: s.voc.print}
}

// earlier is what proposes from earlier answers, nil: nothing does.
func (s *session) earlier() *suffix.Follower {
	if s.e.c.Suffix == nil || s.voc.print == "" || s.route.Where == OnDevice {
		return nil
	}
	return s.e.c.Suffix.Follow(s.partition())
}

// remember learns an answer, if the cloud has decided all of it.
func (s *session) remember() {
	c := &s.e.c
	whole := s.err == nil && (s.sum.Finish == speculative.FinishEnd || s.sum.Finish == speculative.FinishLength || s.sum.Finish == speculative.FinishStop)
	if c.Suffix == nil || s.voc.print == "" || !whole || s.alone != nil || s.begun != nil || s.route.Where == OnDevice || s.sum.Unverified > 0 {
		return
	}
	c.Suffix.Learn(s.partition(), s.p.Log()[len(s.prompt):], time.Now())
}
