package report

import (
	"fmt"
	"html"
	"html/template"
	"math"
	"strings"
)

// plot is one diagram. With categories x counts them; otherwise it is a number.
type plot struct {
	title, x, y string
	categories  []string
	series      []series
	fromZero    bool
	most        float64 // of y; 0: as the points have it
}

type series struct {
	name   string
	line   bool
	points []point
}

type point struct {
	x         float64
	y         Value
	label     string
	emphasise bool
}

// Size of a plot, and what is left around the diagram.
const (
	width, height         = 640.0, 380.0
	left, right, top, low = 62.0, 16.0, 34.0, 52.0
	colours               = 8 // that the style sheet has
)

// svg draws it; empty when there are no points. Colours come from the page's style sheet.
func (p *plot) svg() template.HTML {
	x0, x1, y0, y1, any := p.bounds()
	if !any {
		return ""
	}
	sx := func(x float64) float64 { return left + (x-x0)/(x1-x0)*(width-left-right) }
	sy := func(y float64) float64 { return height - low - (y-y0)/(y1-y0)*(height-low-top) }
	var b strings.Builder
	fmt.Fprintf(&b, `<figure><svg viewBox="0 0 %g %g" role="img" aria-label="%s">`, width, height, html.EscapeString(p.title))
	fmt.Fprintf(&b, `<text class="title" x="%g" y="18">%s</text>`, left, html.EscapeString(p.title))
	for _, t := range ticks(y0, y1) {
		fmt.Fprintf(&b, `<line class="grid" x1="%g" x2="%g" y1="%.1f" y2="%.1f"/><text class="tick" text-anchor="end" x="%g" y="%.1f">%s</text>`,
			left, width-right, sy(t), sy(t), left-6, sy(t)+4, short(t))
	}
	if p.categories != nil {
		for i, c := range p.categories {
			fmt.Fprintf(&b, `<text class="tick" text-anchor="middle" x="%.1f" y="%g">%s</text>`, sx(float64(i)), height-low+18, html.EscapeString(cut(c, int(90/float64(len(p.categories))))))
		}
	} else {
		for _, t := range ticks(x0, x1) {
			fmt.Fprintf(&b, `<line class="grid" x1="%.1f" x2="%.1f" y1="%g" y2="%g"/><text class="tick" text-anchor="middle" x="%.1f" y="%g">%s</text>`,
				sx(t), sx(t), top, height-low, sx(t), height-low+18, short(t))
		}
	}
	fmt.Fprintf(&b, `<text class="axis" text-anchor="middle" x="%g" y="%g">%s</text>`, (left+width-right)/2, height-12, html.EscapeString(p.x))
	fmt.Fprintf(&b, `<text class="axis" text-anchor="middle" transform="translate(15 %g) rotate(-90)">%s</text>`, (top+height-low)/2, html.EscapeString(p.y))
	for i := range p.series {
		p.draw(&b, i, sx, sy)
	}
	b.WriteString(`</svg><figcaption>`)
	for i, s := range p.series {
		if s.name != "" {
			fmt.Fprintf(&b, `<span class="key"><svg viewBox="-7 -7 14 14" width="12" height="12">%s</svg>%s</span> `, mark(i, 0, 0), html.EscapeString(s.name))
		}
	}
	b.WriteString(`</figcaption></figure>`)
	return template.HTML(b.String()) // all text in it is escaped
}

func (p *plot) draw(b *strings.Builder, i int, sx, sy func(float64) float64) {
	s := p.series[i]
	// Points of one category stand side by side.
	shift := 0.0
	if p.categories != nil && len(p.series) > 1 {
		shift = (float64(i) - float64(len(p.series)-1)/2) * min(9, 200/float64(len(p.categories)*len(p.series)))
	}
	if s.line && len(s.points) > 1 {
		var path []string
		for _, q := range s.points {
			path = append(path, fmt.Sprintf("%.1f,%.1f", sx(q.x)+shift, sy(q.y.Mid)))
		}
		fmt.Fprintf(b, `<polyline class="line c%d" points="%s"/>`, i%colours, strings.Join(path, " "))
	}
	for _, q := range s.points {
		x, y := sx(q.x)+shift, sy(q.y.Mid)
		fmt.Fprintf(b, `<g><title>%s</title>`, html.EscapeString(strings.TrimSpace(s.name+" "+q.label+": "+q.y.String())))
		if q.y.High > q.y.Low {
			fmt.Fprintf(b, `<line class="whisker c%d" x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f"/>`, i%colours, x, x, sy(q.y.Low), sy(q.y.High))
		}
		if q.emphasise {
			fmt.Fprintf(b, `<circle class="ring" cx="%.1f" cy="%.1f" r="8"/>`, x, y)
		}
		b.WriteString(mark(i, x, y) + `</g>`)
	}
}

// mark is a series' sign: form and colour, so that either alone tells it.
func mark(i int, x, y float64) string {
	c := i % colours
	switch i % 4 {
	case 1:
		return fmt.Sprintf(`<rect class="dot c%d" x="%.1f" y="%.1f" width="8" height="8"/>`, c, x-4, y-4)
	case 2:
		return fmt.Sprintf(`<path class="dot c%d" d="M%.1f %.1fl5 9h-10z"/>`, c, x, y-5)
	case 3:
		return fmt.Sprintf(`<path class="dot c%d" d="M%.1f %.1fl5 5l-5 5l-5 -5z"/>`, c, x, y-5)
	}
	return fmt.Sprintf(`<circle class="dot c%d" cx="%.1f" cy="%.1f" r="4.5"/>`, c, x, y)
}

func (p *plot) bounds() (x0, x1, y0, y1 float64, any bool) {
	x0, y0, x1, y1 = math.Inf(1), math.Inf(1), math.Inf(-1), math.Inf(-1)
	for _, s := range p.series {
		for _, q := range s.points {
			any = true
			x0, x1, y0, y1 = min(x0, q.x), max(x1, q.x), min(y0, q.y.Low, q.y.Mid), max(y1, q.y.High, q.y.Mid)
		}
	}
	if p.fromZero {
		y0 = 0
	}
	if p.most > 0 {
		y1 = p.most
	}
	pad := func(a, b *float64, share float64) {
		d := (*b - *a) * share
		if d <= 0 {
			d = max(math.Abs(*b)*0.1, 0.1)
		}
		*a, *b = *a-d, *b+d
	}
	if p.categories != nil {
		x0, x1 = -0.5, float64(len(p.categories))-0.5
	} else {
		pad(&x0, &x1, 0.05)
		x0 = max(x0, 0)
	}
	low := y0
	pad(&y0, &y1, 0.06)
	if p.fromZero || low >= 0 && y0 < 0 {
		y0 = 0
	}
	if p.most > 0 {
		y1 = p.most
	}
	return x0, x1, y0, y1, any
}

// ticks are about five round numbers within bounds.
func ticks(low, high float64) (out []float64) {
	step := math.Pow(10, math.Floor(math.Log10((high-low)/5)))
	for _, f := range []float64{1, 2, 5, 10} {
		if (high-low)/(step*f) <= 6 {
			step *= f
			break
		}
	}
	for k := math.Ceil(low / step); k*step <= high+1e-9 && len(out) < 20; k++ {
		out = append(out, k*step)
	}
	return out
}

func short(v float64) string { return fmt.Sprintf("%.4g", math.Round(v*1e6)/1e6) }

func cut(s string, n int) string {
	if r := []rune(s); len(r) > max(n, 6) {
		return string(r[:max(n, 6)-1]) + "…"
	}
	return s
}

func (v Value) String() string {
	if !v.known() {
		return "–"
	}
	if v.N < 2 || v.Low == v.High {
		return fmt.Sprintf("%.3g", v.Mid)
	}
	return fmt.Sprintf("%.3g (%.3g to %.3g)", v.Mid, v.Low, v.High)
}
