package report

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestCurves(t *testing.T) {
	c := []Curves{{Title: "memory <MB>", X: "minutes", Y: "MB", Lines: []Line{{"edge & co", []float64{0, 1, 2}, []float64{5, 7, 6}}, {"cloud", []float64{0, 1, 2}, []float64{1, 1, 1}}}},
		{Title: "nothing"}, {Title: "goroutines", Lines: []Line{{"edge", []float64{0, 1}, []float64{40, 41}}}}}
	svg := CurvesSVG(c...)
	for d := xml.NewDecoder(strings.NewReader(svg)); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err, svg)
		}
	}
	if strings.Count(svg, "<polyline") != 3 || !strings.Contains(svg, "edge &amp; co") || strings.Contains(svg, "<g><title>") {
		t.Error(svg)
	}
	var page strings.Builder
	if err := CurvesHTML(&page, "Soak", "1 < 2", c...); err != nil || strings.Count(page.String(), "<polyline") != 3 || !strings.Contains(page.String(), "1 &lt; 2") {
		t.Error(err, page.String())
	}
}
