package openai

import (
	"net/http"

	"github.com/outrider-llm/outrider/edge"
)

// account is what a request took, part of its metrics.
type account struct {
	Origins       edge.Origins `json:"origins"` // tokens by how they came
	Cost          float64      `json:"cost"`
	CostCloudOnly float64      `json:"cost_cloud_only"`
	Joules        float64      `json:"device_joules,omitempty"` // that the whole device used meanwhile; absent: not known
}

func (a *account) add(s *edge.Summary) {
	o, p := &a.Origins, s.Origins
	o.Device, o.Accepted, o.Correction = o.Device+p.Device, o.Accepted+p.Accepted, o.Correction+p.Correction
	o.Bonus, o.RunAhead = o.Bonus+p.Bonus, o.RunAhead+p.RunAhead
	a.Cost, a.CostCloudOnly, a.Joules = a.Cost+s.Cost, a.CostCloudOnly+s.CostCloudOnly, max(a.Joules, s.Joules)
}

// stats is edge.Totals as JSON.
func (s *server) stats(w http.ResponseWriter, _ *http.Request) {
	e, ok := s.e.(interface{ Totals() edge.Totals })
	if !ok {
		newError(http.StatusNotFound, typeInvalid, "", "unknown_url", "this edge keeps no totals").write(w)
		return
	}
	t := e.Totals()
	writeJSON(w, http.StatusOK, struct {
		edge.Totals
		Saved float64 `json:"cost_saved"`
	}{t, t.Saved()})
}
