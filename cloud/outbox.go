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

// take returns what the handler has to send.
func (o *outbox) take() (out []*outriderv1.Commit, over bool, err error) {
	o.mu.Lock()
	commits := o.commits
	o.commits = nil
	if n := len(commits); n > 0 {
		o.sent = commits[n-1].Start + len(commits[n-1].Tokens)
	}
	over, err = o.over, o.err
	o.mu.Unlock()
	for _, c := range commits {
		out = append(out, commitProto(c))
	}
	return out, over, err
}
