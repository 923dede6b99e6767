package report

import (
	"fmt"
	"html"
	"html/template"
	"io"
	"strings"
)

// Curves is a diagram of lines.
type Curves struct {
	Title, X, Y string
	Lines       []Line
}

// Line has as many values as places.
type Line struct {
	Name string
	X, Y []float64
}

func (c *Curves) plot() *plot {
	p := &plot{title: c.Title, x: c.X, y: c.Y, fromZero: true}
	for _, l := range c.Lines {
		s := series{name: l.Name, line: true, bare: true}
		for i := range min(len(l.X), len(l.Y)) {
			s.points = append(s.points, point{x: l.X[i], y: Value{Mid: l.Y[i], Low: l.Y[i], High: l.Y[i], N: 1}})
		}
		p.series = append(p.series, s)
	}
	return p
}

// CurvesSVG draws diagrams one below the other, as an SVG file of its own.
func CurvesSVG(all ...Curves) string {
	var b strings.Builder
	const row = height + 22 // with the names of its lines
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %g %g"><style>svg{background:var(--bg)}%s</style>`, width, row*float64(len(all)), style)
	for i, c := range all {
		figure := string(c.plot().svg())
		from, to := strings.Index(figure, "<svg"), strings.Index(figure, "</svg>")
		if from < 0 {
			continue
		}
		inner := strings.Replace(figure[from:to], "<svg ", fmt.Sprintf(`<svg y="%g" width="%g" height="%g" `, row*float64(i), width, height), 1)
		b.WriteString(inner + "</svg>")
		x := left
		for k, l := range c.Lines {
			fmt.Fprintf(&b, `<g transform="translate(%g %g)">%s<text x="10" y="4">%s</text></g>`, x, row*float64(i)+height+4, mark(k, 0, 0), html.EscapeString(l.Name))
			x += 34 + 6.6*float64(len(l.Name))
		}
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// CurvesHTML writes a page of its own: the diagrams, and a text as it is.
func CurvesHTML(w io.Writer, title, text string, all ...Curves) error {
	const page = `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{.Title}}</title><style>{{.Style}}</style></head><body>
<h1>{{.Title}}</h1><div class="plots">{{range .Plots}}{{.}}{{end}}</div><pre>{{.Text}}</pre></body></html>
`
	var plots []template.HTML
	for _, c := range all {
		plots = append(plots, c.plot().svg())
	}
	return template.Must(template.New("curves").Parse(page)).Execute(w, map[string]any{"Title": title, "Text": text, "Style": template.CSS(style), "Plots": plots})
}
