package cloud

import (
	"sync"

	outriderv1 "github.com/outrider-llm/outrider/proto/outrider/v1"
	"github.com/outrider-llm/outrider/speculative"
)

// outbox is what a stream's handler has to send. Its own lock keeps the handlers, all of which wake
// when a step is over, off the loop's.
type outbox struct {
	mu      sync.Mutex
	commits []speculative.Commit
	sent    int // length of the log as handed to the stream
	over    bool
	err     error
	since   speculative.Time // end of the step that gave the oldest commit; 0: of no step
}

// from notes when the step was over that gives what is pushed next.
func (o *outbox) from(over speculative.Time) {
	o.mu.Lock()
	if len(o.commits) == 0 {
		o.since = over
	}
	o.mu.Unlock()
}

func (o *outbox) push(c speculative.Commit) {
	o.mu.Lock()
	o.commits = append(o.commits, c)
	o.mu.Unlock()
}

// end says that nothing follows, and how the stream ends.
func (o *outbox) end(err error) {
	o.mu.Lock()
	o.over, o.err = true, err
	o.mu.Unlock()
}

func (o *outbox) ended() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.over
}

// length is that of the log as handed to the stream.
func (o *outbox) length() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.sent
}

// take returns what the handler has to send, and since when it waits (0: of no step).
func (o *outbox) take() (out []*outriderv1.Commit, since speculative.Time, over bool, err error) {
	o.mu.Lock()
	commits := o.commits
	o.commits = nil
	if n := len(commits); n > 0 {
		o.sent = commits[n-1].Start + len(commits[n-1].Tokens)
	}
	over, err, since = o.over, o.err, o.since
	o.since = 0
	o.mu.Unlock()
	for _, c := range commits {
		out = append(out, commitProto(c))
	}
	return out, since, over, err
}
