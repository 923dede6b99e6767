package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/muesli/termenv"
	"golang.org/x/term"

	"github.com/outrider-llm/outrider/cmd/outrider/terminal"
	outriderv1 "github.com/outrider-llm/outrider/proto/outrider/v1"
)

// printer writes generated text, coloured by fate on a terminal.
type printer struct {
	w    io.Writer
	out  *termenv.Output
	safe bool  // it is a terminal, which the text must not steer
	text bool  // something was written
	err  error // the first failure to write
}

// newPrinter colours when mode is always, or auto and w is a terminal (NO_COLOR is obeyed).
func newPrinter(w io.Writer, mode string) (*printer, error) {
	p := &printer{w: w, safe: mode == "always" || isTerminal(w)}
	switch mode {
	case "always":
		p.out = termenv.NewOutput(w, termenv.WithProfile(termenv.ANSI))
	case "never":
		p.out = termenv.NewOutput(w, termenv.WithProfile(termenv.Ascii))
	case "auto":
		p.out = termenv.NewOutput(w)
		if !isTerminal(w) {
			p.out = termenv.NewOutput(w, termenv.WithProfile(termenv.Ascii))
		}
	default:
		return nil, usagef("--color is %q, must be auto, always or never", mode)
	}
	return p, nil
}

func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb"
}

// Colours of the fates, from the terminal's own palette.
var fateColour = map[outriderv1.Fate]termenv.ANSIColor{
	outriderv1.Fate_FATE_ACCEPTED:   termenv.ANSIGreen,
	outriderv1.Fate_FATE_CORRECTION: termenv.ANSIYellow,
	outriderv1.Fate_FATE_BONUS:      termenv.ANSICyan,
	outriderv1.Fate_FATE_RUN_AHEAD:  termenv.ANSICyan,
}

// response writes what a response adds to the text.
func (p *printer) response(m *outriderv1.GenerateResponse) {
	var b strings.Builder
	for _, t := range m.GetTokens() {
		b.WriteString(p.style(p.clean(t.GetText()), t.GetFate(), t.GetUnverified()))
	}
	b.WriteString(p.clean(m.GetTail()))
	if b.Len() > 0 && p.err == nil {
		p.text = true
		_, p.err = fmt.Fprint(p.w, b.String())
	}
}

// clean takes control sequences out of what a terminal gets; tabs stay.
func (p *printer) clean(text string) string {
	if !p.safe {
		return text
	}
	parts := strings.Split(text, "\t")
	for i, s := range parts {
		parts[i] = terminal.Clean(s)
	}
	return strings.Join(parts, "\t")
}

func (p *printer) style(text string, f outriderv1.Fate, unverified bool) string {
	colour, known := fateColour[f]
	switch {
	case text == "" || p.out.Profile == termenv.Ascii:
		return text
	case unverified:
		return p.out.String(text).Foreground(termenv.ANSIMagenta).Italic().String()
	case known:
		return p.out.String(text).Foreground(colour).String()
	}
	return text
}

// legend explains the colours; empty without colours.
func (p *printer) legend() string {
	if p.out.Profile == termenv.Ascii {
		return ""
	}
	return strings.Join([]string{
		p.style("drafted and accepted", outriderv1.Fate_FATE_ACCEPTED, false),
		p.style("corrected", outriderv1.Fate_FATE_CORRECTION, false),
		p.style("the target's own", outriderv1.Fate_FATE_RUN_AHEAD, false),
		p.style("unverified", 0, true),
	}, p.faint(" · "))
}

func (p *printer) faint(s string) string {
	if p.out.Profile == termenv.Ascii {
		return s
	}
	return p.out.String(s).Faint().String()
}

// figures are what a summary says about speed and agreement.
type figures struct {
	Tokens         int     `json:"tokens"`
	MsPerToken     float64 `json:"ms_per_token"`
	AcceptanceRate float64 `json:"acceptance_rate"`
	MeanLength     float64 `json:"mean_acceptance_length"`
	PassesPerToken float64 `json:"target_passes_per_token"`
	UplinkBytes    float64 `json:"uplink_payload_bytes_per_token"`

	passes, scoring, judged, accepted, resumes, unverified int
	uplink, ms                                             float64
}

// add adds up another summary.
func (f *figures) add(s *outriderv1.Summary) {
	u := s.GetUsage()
	f.Tokens += int(s.GetGeneratedTokens())
	f.ms += float64(s.GetTotalUs()) / 1000
	f.passes += int(u.GetPasses())
	f.scoring += int(u.GetScoringPasses())
	f.judged += int(u.GetJudged())
	f.accepted += int(u.GetAccepted())
	f.uplink += float64(s.GetUplinkBytes())
	f.resumes += int(s.GetResumes())
	f.unverified += int(s.GetUnverified())
	n := float64(max(1, f.Tokens))
	f.MsPerToken, f.UplinkBytes, f.PassesPerToken = f.ms/n, f.uplink/n, float64(f.passes)/n
	f.AcceptanceRate = float64(f.accepted) / float64(max(1, f.judged))
	f.MeanLength = 0
	if f.scoring > 0 {
		f.MeanLength = 1 + float64(f.accepted)/float64(f.scoring)
	}
}

// statusLine is the line below an answer.
func statusLine(s *outriderv1.Summary) string {
	var f figures
	f.add(s)
	parts := []string{fmt.Sprintf("%d tokens", f.Tokens), fmt.Sprintf("%.1f ms/token", f.MsPerToken)}
	if f.judged > 0 {
		parts = append(parts, fmt.Sprintf("acceptance %.2f", f.AcceptanceRate), fmt.Sprintf("%.2f passes/token", f.PassesPerToken))
	}
	if f.resumes > 0 {
		parts = append(parts, fmt.Sprintf("resumed %d×", f.resumes))
	}
	if f.unverified > 0 {
		parts = append(parts, fmt.Sprintf("%d unverified", f.unverified))
	} else if s.GetShapeDependent() {
		parts = append(parts, "exact but for near ties")
	} else if line := ruleLine(s); line != "" {
		parts = append(parts, line)
	} else if !s.GetExact() {
		parts = append(parts, "not exact: resumed under other numerics")
	}
	if line := routingLine(s.GetRouting()); line != "" {
		parts = append(parts, line)
	}
	switch s.GetFinish() {
	case outriderv1.Finish_FINISH_LENGTH:
		parts = append(parts, "length limit")
	case outriderv1.Finish_FINISH_DEADLINE:
		parts = append(parts, "deadline")
	}
	return strings.Join(parts, " · ")
}
