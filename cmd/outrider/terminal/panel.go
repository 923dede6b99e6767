package terminal

import (
	"fmt"
	"strings"
	"time"

	"github.com/rivo/uniseg"

	outriderv1 "github.com/outrider-llm/outrider/proto/outrider/v1"
)

// figures are what the panel shows of an answer.
type figures struct {
	tokens, accepted, scoring, judged int
	p                                 *outriderv1.Progress
	sum                               *outriderv1.Summary
}

// token counts one; each pass that judged a proposal gives one token of the target's own.
func (f *figures) token(t *outriderv1.GeneratedToken) {
	f.tokens++
	switch {
	case t.GetUnverified():
	case t.GetFate() == outriderv1.Fate_FATE_ACCEPTED:
		f.accepted++
	case t.GetFate() == outriderv1.Fate_FATE_CORRECTION, t.GetFate() == outriderv1.Fate_FATE_BONUS:
		f.scoring++
	}
}

func (f *figures) progress(p *outriderv1.Progress) {
	if p != nil {
		f.p = p
	}
}

func (f *figures) done(s *outriderv1.Summary) {
	if s != nil {
		f.sum = s
		f.judged, f.accepted, f.scoring = int(s.GetUsage().GetJudged()), int(s.GetUsage().GetAccepted()), int(s.GetUsage().GetScoringPasses())
	}
}

func ms(us uint64) string {
	d := float64(us) / 1000
	if d < 10 {
		return fmt.Sprintf("%.1f ms", d)
	}
	return fmt.Sprintf("%.0f ms", d)
}

func size(n uint64) string {
	if n < 10000 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f kB", float64(n)/1000)
}

// items are the panel's entries, the most telling first.
func (f *figures) items() []string {
	var out []string
	add := func(format string, a ...any) { out = append(out, fmt.Sprintf(format, a...)) }
	total, up, down := f.p.GetAtUs(), f.p.GetUplinkBytes(), f.p.GetDownlinkBytes()
	if f.sum != nil {
		total, up, down = f.sum.GetTotalUs(), f.sum.GetUplinkBytes(), f.sum.GetDownlinkBytes()
	}
	if f.tokens > 0 {
		per := ms(total/uint64(f.tokens)) + "/token"
		if plain := f.p.GetPlainUs(); plain > 0 {
			per += " (cloud alone ≈ " + ms(plain) + ")"
		}
		add("%s", per)
	}
	switch {
	case f.judged > 0:
		add("acceptance %.2f", float64(f.accepted)/float64(f.judged))
	case f.scoring > 0:
		add("acceptance ≈ %.2f", float64(f.accepted)/float64(f.accepted+f.scoring))
	}
	if f.scoring > 0 {
		add("length %.1f", 1+float64(f.accepted)/float64(f.scoring))
	}
	if f.sum == nil && f.p != nil {
		add("depth %d", f.p.GetDepth())
	}
	if rtt := f.p.GetRttUs(); rtt > 0 {
		add("RTT %s", ms(rtt))
	}
	if up+down > 0 {
		add("↑ %s ↓ %s", size(up), size(down))
	}
	if n := f.p.GetResumes(); n > 0 {
		add("resumed %d×", n)
	}
	return out
}

// ending says how an answer ended, when that is not just its end.
func (f *figures) ending() []string {
	out := []string{fmt.Sprintf("%d tokens", f.tokens)}
	switch f.sum.GetFinish() {
	case outriderv1.Finish_FINISH_LENGTH:
		out = append(out, "length limit")
	case outriderv1.Finish_FINISH_DEADLINE:
		out = append(out, "deadline")
	}
	if n := f.sum.GetUnverified(); n > 0 {
		out = append(out, fmt.Sprintf("%d unverified", n))
	} else if f.sum != nil && !f.sum.GetExact() {
		out = append(out, "not exact: the target's numerics changed")
	}
	return out
}

// fit joins as many items as fit into the lines.
func fit(items []string, width, lines int) string {
	const dot = " · "
	var out []string
	row := ""
	for _, it := range items {
		next := it
		if row != "" {
			next = row + dot + it
		}
		switch {
		case uniseg.StringWidth(next) <= width:
			row = next
		case row == "" || len(out)+1 == lines:
			continue // too long: a shorter one may fit
		default:
			out = append(out, row)
			if row = ""; uniseg.StringWidth(it) <= width {
				row = it
			}
		}
	}
	if row != "" {
		out = append(out, row)
	}
	return strings.Join(out, "\n")
}

// state is the panel's first item.
func (m *Model) state() string {
	switch a := m.answer; {
	case m.away != "":
		return "✗ no edge"
	case a != nil && a.stopped:
		return "… stopping"
	case a != nil && a.figures.p.GetAlone():
		return "● the draft alone"
	case a != nil && a.figures.p.GetWhere() == "device":
		return "● on the device"
	case a != nil && a.figures.p != nil && !a.figures.p.GetLinked():
		return "○ no link, waiting"
	case a != nil:
		return "● answering"
	}
	return "● ready"
}

// panel is the bottom of the screen.
func (m *Model) panel() string {
	lines := 2
	if m.width < 50 || m.height < 12 {
		lines = 1
	}
	items := []string{m.state()}
	if m.panelOn {
		f := &m.last
		if m.answer != nil {
			f = &m.answer.figures
		}
		items = append(items, f.items()...)
	}
	switch {
	case m.answer != nil:
		items = append(items, "esc stops")
	case m.last.tokens == 0:
		items = append(items, m.who(), "/help")
	}
	return fit(items, m.width, lines)
}

// who names the models.
func (m *Model) who() string {
	target := m.c.Request.GetModel()
	if ts := m.status.GetTargets(); target == "" && len(ts) > 0 {
		target = ts[0].GetName()
	}
	switch d := m.status.GetDraft(); {
	case m.status == nil:
		return "asking the edge"
	case target == "":
		return "no cloud in reach"
	case d == "" || m.c.Request.GetNoDraft() || m.c.Request.GetMode() == outriderv1.Mode_MODE_ONLY_IN_CLOUD:
		return Clean(target) + " works alone"
	default:
		return Clean(d) + " drafts for " + Clean(target)
	}
}

const (
	pollEvery   = 3 * time.Second
	pollTimeout = 2 * time.Second
)
