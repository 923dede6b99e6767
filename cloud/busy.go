package cloud

import (
	"time"

	outriderv1 "github.com/outrider-llm/outrider/proto/outrider/v1"
)

// busy is what a target's last steps were like, smoothed; the loop's mutex guards it.
type busy struct {
	queue, step time.Duration
	known       bool
}

// smoothSteps is how many steps count, about.
const smoothSteps = 16

func (b *busy) observe(queue, step time.Duration) {
	if !b.known {
		b.queue, b.step, b.known = queue, step, true
		return
	}
	b.queue += (queue - b.queue) / smoothSteps
	b.step += (step - b.step) / smoothSteps
}

// load is how busy the target is. The mutex is held.
func (l *loop) load() *outriderv1.Load {
	us := func(d time.Duration) uint32 { return uint32(min(max(d.Microseconds(), 0), 1<<32-1)) }
	m := &outriderv1.Load{Sessions: uint32(l.connected), Places: uint32(l.c.MaxSessions), StepUs: us(l.busy.step),
		Draining: l.draining, Zone: l.c.Zone}
	if l.connected > 0 { // else nobody waits
		m.QueueUs = us(l.busy.queue)
	}
	return m
}
