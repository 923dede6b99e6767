package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"

	"github.com/outrider-llm/outrider/cloud"
	"github.com/outrider-llm/outrider/edge"
	"github.com/outrider-llm/outrider/telemetry"
)

// scrapeOf reads a server's metrics.
func scrapeOf(t *testing.T, admin string) map[string]*dto.MetricFamily {
	t.Helper()
	resp, err := http.Get("http://" + admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	p := expfmt.NewTextParser(model.UTF8Validation)
	f, err := p.TextToMetricFamilies(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// labels are those of a metric, each with its values.
type labels map[string]map[string]bool

func labelsOf(scrapes ...map[string]*dto.MetricFamily) map[string]labels {
	all := map[string]labels{}
	for _, s := range scrapes {
		for name, f := range s {
			if all[name] == nil {
				all[name] = labels{}
			}
			for _, m := range f.GetMetric() {
				for _, l := range m.GetLabel() {
					if all[name][l.GetName()] == nil {
						all[name][l.GetName()] = map[string]bool{}
					}
					all[name][l.GetName()][l.GetValue()] = true
				}
				if m.Histogram != nil {
					all[name]["le"] = map[string]bool{}
				}
			}
		}
	}
	return all
}

var (
	selector   = regexp.MustCompile(`\b((?:outrider|process|go)_[a-z0-9_]+)(?:\{([^}]*)\})?`)
	matcher    = regexp.MustCompile(`([a-z_]+)(=~|=)"([^"]*)"`)
	aggregates = regexp.MustCompile(`by \(([^)]*)\)`)
	functions  = regexp.MustCompile(`^label_values\(([a-z_]+), ([a-z_]+)\)$`)
)

// prometheusAdds are labels that come from the scraping side.
var prometheusAdds = []string{"job", "instance"}

// checkQuery reports what a PromQL expression names that was not scraped.
func checkQuery(expr string, known map[string]labels) (wrong []string) {
	var used []labels
	for _, m := range selector.FindAllStringSubmatch(expr, -1) {
		l, ok := known[m[1]]
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			if base, cut := strings.CutSuffix(m[1], suffix); !ok && cut {
				l, ok = known[base]
			}
		}
		if !ok {
			wrong = append(wrong, "no metric "+m[1])
			continue
		}
		used = append(used, l)
		for _, x := range matcher.FindAllStringSubmatch(m[2], -1) {
			values, ok := l[x[1]]
			switch {
			case slices.Contains(prometheusAdds, x[1]):
			case !ok:
				wrong = append(wrong, fmt.Sprintf("%s has no label %s", m[1], x[1]))
			case x[2] == "=" && !values[x[3]]:
				wrong = append(wrong, fmt.Sprintf("%s has no %s", m[1], x[0]))
			}
		}
	}
	for _, m := range aggregates.FindAllStringSubmatch(expr, -1) {
		for name := range strings.SplitSeq(m[1], ",") {
			name = strings.TrimSpace(name)
			if !slices.Contains(prometheusAdds, name) && !slices.ContainsFunc(used, func(l labels) bool { _, ok := l[name]; return ok }) {
				wrong = append(wrong, "by "+name+", which no metric of the query has")
			}
		}
	}
	if len(used) == 0 && len(wrong) == 0 && !strings.HasPrefix(expr, "up{") {
		wrong = append(wrong, "it names no metric")
	}
	return wrong
}

// queries are those of the dashboard and of the alert rules, by name.
func queries(t *testing.T) map[string]string {
	t.Helper()
	var d struct {
		Templating struct {
			List []struct {
				Name  string
				Query any
			}
		}
		Panels []struct {
			Title   string
			Targets []struct{ RefID, Expr string }
		}
	}
	read := func(into any, unmarshal func([]byte, any) error, path ...string) {
		b, err := os.ReadFile(filepath.Join(append([]string{"..", "..", "deploy"}, path...)...))
		if err == nil {
			err = unmarshal(b, into)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	read(&d, json.Unmarshal, "grafana", "outrider.json")
	var rules struct {
		Groups []struct {
			Rules []struct{ Alert, Expr string }
		}
	}
	read(&rules, yaml.Unmarshal, "prometheus", "alerts.yml")
	all := map[string]string{}
	for _, p := range d.Panels {
		for _, x := range p.Targets {
			all[p.Title+" "+x.RefID] = x.Expr
		}
	}
	for _, v := range d.Templating.List {
		if q, ok := v.Query.(map[string]any); ok {
			m := functions.FindStringSubmatch(q["query"].(string))
			if m == nil {
				t.Fatalf("variable %s: %v", v.Name, q)
			}
			all["variable "+v.Name] = "sum by (" + m[2] + ") (" + m[1] + ")"
		}
	}
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			all["alert "+r.Alert] = r.Expr
		}
	}
	return all
}

// TestDashboardAndAlertsQueryWhatExists: every metric, label and label value that they name is in a
// scrape of real processes.
func TestDashboardAndAlertsQueryWhatExists(t *testing.T) {
	s := observed(t, nil)
	known := labelsOf(scrapeOf(t, s.edge.admin()), scrapeOf(t, s.cloud.admin()))
	all := queries(t)
	if len(all) < 40 {
		t.Errorf("only %d queries were found", len(all))
	}
	for name, q := range all {
		for _, wrong := range checkQuery(q, known) {
			t.Errorf("%s: %s in %s", name, wrong, q)
		}
	}
	for _, bad := range []string{`sum(outrider_edge_tokens)`, `outrider_edge_tokens_total{fat="x"}`, `outrider_edge_tokens_total{fate="x"}`,
		`sum by (fat) (outrider_edge_tokens_total)`} {
		if checkQuery(bad, known) == nil {
			t.Errorf("%s was not found wrong", bad)
		}
	}
	if got := known["outrider_build_info"]; !got["engine"]["reference"] || len(got["version"]) != 1 {
		t.Errorf("build info %v", got)
	}
	if got := known["outrider_spec_decode_num_accepted_tokens_per_pos_total"]; !got["position"]["0"] || len(got["side"]) != 2 {
		t.Errorf("positions %v", got)
	}
}

// registered notes what would be registered.
type registered struct{ collectors []prometheus.Collector }

func (r *registered) Register(c prometheus.Collector) error {
	r.collectors = append(r.collectors, c)
	return nil
}

func (r *registered) MustRegister(c ...prometheus.Collector) {
	r.collectors = append(r.collectors, c...)
}
func (r *registered) Unregister(prometheus.Collector) bool { return false }

var descriptor = regexp.MustCompile(`fqName: "([^"]+)", help: "([^"]+)", (?:unit: "[^"]*", )?constLabels: \{([^}]*)\}, variableLabels: \{([^}]*)\}`)

// metricsTable describes all metrics of edge and cloud.
func metricsTable(t *testing.T) string {
	r := &registered{}
	cloud.NewMetrics(r)
	edge.NewMetrics(r)
	telemetry.RegisterBuild(r)
	var rows []string
	for _, c := range r.collectors {
		ch := make(chan *prometheus.Desc, 16)
		c.Describe(ch)
		close(ch)
		for d := range ch {
			m := descriptor.FindStringSubmatch(d.String())
			if m == nil {
				t.Fatal(d)
			}
			kind := "gauge"
			switch {
			case strings.HasSuffix(m[1], "_total"):
				kind = "counter"
			case strings.Contains(fmt.Sprintf("%T", c), "Histogram"):
				kind = "histogram"
			}
			var names []string
			for l := range strings.SplitSeq(m[3]+","+m[4], ",") {
				if l, _, _ = strings.Cut(strings.TrimSpace(l), "="); l != "" {
					names = append(names, l)
				}
			}
			rows = append(rows, fmt.Sprintf("| `%s` | %s | %s | %s |\n", m[1], kind, strings.Join(names, ", "), m[2]))
		}
	}
	slices.Sort(rows)
	return "| metric | type | labels | meaning |\n|---|---|---|---|\n" + strings.Join(slices.Compact(rows), "")
}

func TestMetricsAreDocumented(t *testing.T) {
	madeTable(t, "observability.md", "metrics", metricsTable(t))
}
