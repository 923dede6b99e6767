package terminal

import (
	"context"
	"strings"

	tea "charm.land/bubbletea/v2"

	outriderv1 "github.com/outrider-llm/outrider/proto/outrider/v1"
)

// Messages of an answer under way. id tells them from those of one that was left.
type (
	gotMsg struct {
		id        int
		responses []*outriderv1.GenerateResponse
		end       *doneMsg // nil: more follows
	}
	doneMsg struct {
		id  int
		sum *outriderv1.Summary
		err error
	}
)

// answer is one under way.
type answer struct {
	id      int
	cancel  context.CancelFunc
	events  chan tea.Msg
	stopped bool // by the user

	text    strings.Builder // as the model gave it
	pieces  []piece         // cleaned, by kind
	pending string
	printed int // bytes of pieces that are in the scrollback
	figures figures
}

// ask starts a question; the command returned brings its first message.
func (m *Model) ask() tea.Cmd {
	m.lastID++
	ctx, cancel := context.WithCancel(m.ctx)
	a := &answer{id: m.lastID, cancel: cancel, events: make(chan tea.Msg, 1)}
	m.answer = a
	r, client := m.request(), m.c.Client
	return func() tea.Msg {
		go func() { // ends with the request; cancel ends that
			sum, err := client.Ask(ctx, r, func(e *outriderv1.GenerateResponse) {
				select {
				case a.events <- gotMsg{id: a.id, responses: []*outriderv1.GenerateResponse{e}}:
				case <-ctx.Done():
				}
			})
			select {
			case a.events <- doneMsg{a.id, sum, err}:
			case <-m.ctx.Done():
			}
		}()
		return a.next()
	}
}

// next waits for more of the answer, and takes what has gathered meanwhile in one go.
func (a *answer) next() tea.Msg {
	msg := <-a.events
	got, ok := msg.(gotMsg)
	if !ok {
		return msg
	}
	for range 16 {
		select {
		case more := <-a.events:
			g, ok := more.(gotMsg)
			if !ok {
				end := more.(doneMsg)
				got.end = &end
				return got
			}
			got.responses = append(got.responses, g.responses...)
		default:
			return got
		}
	}
	return got
}

// take adds a response.
func (a *answer) take(r *outriderv1.GenerateResponse) {
	for _, t := range r.GetTokens() {
		a.text.WriteString(t.GetText())
		a.add(t.GetText(), kindOf(t))
		a.figures.token(t)
	}
	a.text.WriteString(r.GetTail())
	a.add(r.GetTail(), plain)
	a.pending = Clean(r.GetPending())
	a.figures.progress(r.GetProgress())
}

func (a *answer) add(text string, k kind) {
	if text = Clean(text); text == "" {
		return
	}
	if n := len(a.pieces); n > 0 && a.pieces[n-1].kind == k {
		a.pieces[n-1].text += text
		return
	}
	a.pieces = append(a.pieces, piece{text, k})
}

func kindOf(t *outriderv1.GeneratedToken) kind {
	switch f := t.GetFate(); {
	case t.GetUnverified():
		return unverified
	case f == outriderv1.Fate_FATE_ACCEPTED:
		return accepted
	case f == outriderv1.Fate_FATE_CORRECTION:
		return corrected
	case f == outriderv1.Fate_FATE_BONUS, f == outriderv1.Fate_FATE_RUN_AHEAD:
		return own
	}
	return plain
}

// rest is what is not in the scrollback yet.
func (a *answer) rest() []piece {
	skip := a.printed
	var out []piece
	for _, p := range a.pieces {
		if skip >= len(p.text) {
			skip -= len(p.text)
			continue
		}
		out = append(out, piece{p.text[skip:], p.kind})
		skip = 0
	}
	return out
}

// lines are those on the screen: what is decided, and then what is pending.
func (a *answer) lines(width int, showPending bool) (all []line, decided int) {
	rest := a.rest()
	decided = len(wrap(rest, width))
	if showPending && a.pending != "" {
		rest = append(rest, piece{a.pending, pending})
	}
	return wrap(rest, width), decided
}

// overflow takes the decided lines that do not fit on the screen, for the scrollback.
func (a *answer) overflow(width, height int, showPending bool) []line {
	all, decided := a.lines(width, showPending)
	n := min(len(all)-height, decided-1)
	if n <= 0 {
		return nil
	}
	over := wrap(a.rest(), width)[:n] // the same without what is pending
	a.printed += over[n-1].end
	return over
}
