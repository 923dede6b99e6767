package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/outrider-llm/outrider/edge/router"
)

func newRouterEval() *cobra.Command {
	var l learning
	var asJSON bool
	var csvFile, svgFile, model string
	c := &cobra.Command{
		Use:   "eval FILE...",
		Short: "What a learned score is worth: quality kept against the cloud's share",
		Long: `Say what routing by a learned score keeps of the large model's quality when it answers a share only,
next to random routing and an oracle that knows which answers will be right. The files are those of
"outrider router train". Each part is scored by a model that was trained on the others; with --model
the files are scored by a model that is there (take care that it has not learned from them).`,
		Example: `  outrider router eval labelled/*.csv
  outrider router eval labelled/*.csv --by file --svg curve.svg --csv curve.csv
  outrider router eval outcomes.jsonl --json | jq .area`,
		Args: someFiles,
		RunE: func(c *cobra.Command, args []string) error {
			examples, err := readExamples(args)
			if err == nil {
				err = l.check()
			}
			if err != nil {
				return err
			}
			var scores []float64
			if model != "" {
				scores, err = scoreBy(model, examples)
			} else {
				scores, err = l.scores(examples)
			}
			if err != nil {
				return err
			}
			curve := router.CurveOf(examples, scores)
			for path, text := range map[string]string{csvFile: curveCSV(curve), svgFile: curveSVG(curve)} {
				if path == "" {
					continue
				}
				if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
					return err
				}
			}
			if asJSON {
				return json.NewEncoder(c.OutOrStdout()).Encode(curve)
			}
			return curveTable(c.OutOrStdout(), curve)
		},
	}
	f := c.Flags()
	l.add(f)
	f.BoolVar(&asJSON, "json", false, "print JSON")
	f.StringVar(&csvFile, "csv", "", "also write the curve to this CSV file")
	f.StringVar(&svgFile, "svg", "", "also draw the curve to this SVG file")
	f.StringVar(&model, "model", "", "score by this model instead of training")
	return c
}

func scoreBy(path string, examples []router.Example) ([]float64, error) {
	text, err := readSmall(path, maxRouterModel)
	if err != nil {
		return nil, usageError{err}
	}
	m, err := router.ParseModel(path, text)
	if err != nil {
		return nil, usageError{err}
	}
	scores := make([]float64, len(examples))
	for i, e := range examples {
		scores[i] = m.Score(e.Facts, e.Text)
	}
	return scores, nil
}

func curveTable(w io.Writer, c router.Curve) error {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "cloud's share\tquality\trandom\toracle\trecovered\tscore below\t")
	for i, p := range c.Points {
		if i%2 == 0 {
			fmt.Fprintf(t, "%.0f %%\t%.2f %%\t%.2f %%\t%.2f %%\t%.0f %%\t%.3f\t\n", 100*p.Share, 100*p.Router, 100*p.Random, 100*p.Oracle, 100*p.Recover, p.Score)
		}
	}
	_ = t.Flush() // w tells when printing the rest
	_, err := fmt.Fprintf(w, "\n%d examples: draft %.2f %%, target %.2f %%\narea %.3f (95 %%: %.3f to %.3f; random 0.5, oracle %.3f)\n"+
		"half of the gap with %.0f %% of the calls, 80 %% of it with %.0f %%\n",
		c.Examples, 100*c.Weak, 100*c.Strong, c.Area, c.Low, c.High, c.OracleArea, 100*c.Half, 100*c.Most)
	return err
}

func curveCSV(c router.Curve) string {
	var b strings.Builder
	b.WriteString("share,router,random,oracle,recovered,threshold\n")
	for _, p := range c.Points {
		fmt.Fprintf(&b, "%g,%.5f,%.5f,%.5f,%.4f,%.5f\n", p.Share, p.Router, p.Random, p.Oracle, p.Recover, p.Score)
	}
	return b.String()
}

// Size of the drawing, and of the field within.
const (
	svgWidth, svgHeight   = 640, 400
	svgLeft, svgTop       = 70, 20
	svgInside, svgUpright = 540, 320
)

// curveSVG draws quality against share.
func curveSVG(c router.Curve) string {
	lo, hi := c.Weak, c.Strong
	for _, p := range c.Points {
		lo, hi = min(lo, p.Router, p.Oracle), max(hi, p.Router, p.Oracle)
	}
	if pad := (hi - lo) * 0.05; pad > 0 {
		lo, hi = lo-pad, hi+pad
	} else {
		hi = lo + 1
	}
	x := func(share float64) float64 { return svgLeft + share*svgInside }
	y := func(q float64) float64 { return svgTop + (hi-q)/(hi-lo)*svgUpright }
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n"+`<rect width="100%%" height="100%%" fill="#fff"/>`+"\n", svgWidth, svgHeight)
	for i := range 6 {
		share, q := float64(i)/5, lo+(hi-lo)*float64(i)/5
		fmt.Fprintf(&b, `<path d="M%.1f %d V%d M%d %.1f H%d" stroke="#ddd" fill="none"/>`+"\n", x(share), svgTop, svgTop+svgUpright, svgLeft, y(q), svgLeft+svgInside)
		fmt.Fprintf(&b, `<text x="%.1f" y="%d" text-anchor="middle">%.0f %%</text><text x="%d" y="%.1f" text-anchor="end">%.1f %%</text>`+"\n",
			x(share), svgTop+svgUpright+18, 100*share, svgLeft-6, y(q)+4, 100*q)
	}
	for i, line := range []struct {
		name, colour string
		of           func(router.Point) float64
	}{
		{fmt.Sprintf("oracle (%.3f)", c.OracleArea), "#999", func(p router.Point) float64 { return p.Oracle }},
		{"random (0.5)", "#c60", func(p router.Point) float64 { return p.Random }},
		{fmt.Sprintf("learned score (%.3f)", c.Area), "#06c", func(p router.Point) float64 { return p.Router }},
	} {
		points := make([]string, len(c.Points))
		for k, p := range c.Points {
			points[k] = fmt.Sprintf("%.1f,%.1f", x(p.Share), y(line.of(p)))
		}
		fmt.Fprintf(&b, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>`+"\n", strings.Join(points, " "), line.colour)
		fmt.Fprintf(&b, `<text x="%d" y="%d" fill="%s">%s</text>`+"\n", svgLeft+svgInside-170, svgTop+svgUpright-60+i*18, line.colour, line.name)
	}
	fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="middle">share of answers with the cloud</text>`+"\n", svgLeft+svgInside/2, svgHeight-12)
	fmt.Fprintf(&b, `<text x="14" y="%d" text-anchor="middle" transform="rotate(-90 14 %d)">right answers</text>`+"\n</svg>\n", svgTop+svgUpright/2, svgTop+svgUpright/2)
	return b.String()
}
