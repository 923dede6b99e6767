package chat

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/nikolalohinski/gonja/v2/exec"
)

// Bounds of one rendering. Real templates stay far below them.
const (
	maxSource   = 256 << 10 // bytes of a template
	maxTokens   = 600       // of one expression, so that it cannot multiply its operands much
	maxSteps    = 1 << 20   // statements
	maxDepth    = 64        // macros and loops within one another
	maxRange    = 10000
	maxTime     = 5 * time.Second
	growth      = 8       // output may be this many times the input, and
	allowance   = 1 << 20 // this much more, in bytes
	maxWidth    = 256     // of an indentation
	maxRepeat   = 256     // copies of a text
	budgetEntry = "\x00budget"
)

var errBudget = errors.New("does too much")

// budget is what one rendering may still spend. It is stored where no template can name it.
type budget struct {
	ctx   context.Context
	until time.Time
	steps int
	depth int
	size  int // of any text; four times as much may be written in all

	written int
	spent   error
}

func newBudget(ctx context.Context, input int) *budget {
	return &budget{ctx: ctx, until: time.Now().Add(maxTime), steps: maxSteps, size: growth*input + allowance}
}

func budgetOf(c *exec.Context) *budget {
	v, _ := c.Get(budgetEntry)
	b, ok := v.(*budget)
	if !ok {
		return &budget{spent: errBudget}
	}
	return b
}

func (b *budget) fail(what string) error {
	if b.spent == nil {
		b.spent = fmt.Errorf("%w: %s", errBudget, what)
	}
	return b.spent
}

// step accounts for one statement.
func (b *budget) step() error {
	if b.spent != nil {
		return b.spent
	}
	if b.steps--; b.steps < 0 {
		return b.fail(fmt.Sprintf("more than %d statements", maxSteps))
	}
	if b.steps%64 == 0 {
		if err := b.ctx.Err(); err != nil {
			b.spent = err
			return err
		}
		if time.Now().After(b.until) {
			return b.fail(fmt.Sprintf("more than %s", maxTime))
		}
	}
	return nil
}

func (b *budget) enter() error {
	if b.depth++; b.depth > maxDepth {
		return b.fail(fmt.Sprintf("nested deeper than %d", maxDepth))
	}
	return b.step()
}

// fits accounts for a text that an expression made.
func (b *budget) fits(n int) error {
	if b.spent != nil {
		return b.spent
	}
	if n > b.size {
		return b.fail(fmt.Sprintf("a text of more than %d bytes", b.size))
	}
	return nil
}

// weigh adds up the texts in a value.
func weigh(v *exec.Value, depth int) int {
	switch {
	case v == nil || v.IsNil() || depth > 8:
		return 0
	case v.IsString():
		return len(v.String())
	case v.IsDict():
		n := 0
		for _, p := range pairs(v) {
			n += 16 + weigh(exec.ToValue(p.Key), depth+1) + weigh(exec.ToValue(p.Value), depth+1)
		}
		return n
	case v.IsList():
		n := 0
		for _, x := range items(v) {
			n += 16 + weigh(exec.ToValue(x), depth+1)
		}
		return n
	}
	return 0
}

// counted is an output that accounts for what is written, also to the texts of macros and block sets.
type counted struct {
	w io.Writer
	b *budget
}

func (o *counted) Write(p []byte) (int, error) { return o.WriteString(string(p)) }

// WriteString implements io.StringWriter.
func (o *counted) WriteString(s string) (int, error) {
	if err := o.b.step(); err != nil {
		return 0, err
	}
	if o.b.written += len(s); o.b.written > 4*o.b.size {
		return 0, o.b.fail(fmt.Sprintf("more than %d bytes of output", 4*o.b.size))
	}
	return io.WriteString(o.w, s)
}
