package simulation

// CloudOnly is the same run without drafts on either side: the target streaming over the same link.
func (c Config) CloudOnly() Config {
	c.Edge.Depth, c.Own = -1, false
	c.Faults = Faults{}
	return c
}

// comparable reports whether I6 speaks about a run: one undisturbed session, run-ahead at 1 or with
// patience, which is paid from what was saved.
func (c Config) comparable() bool {
	return c.Sessions <= 1 && !c.Faults.any() && c.Jitter == 0 &&
		(c.Cloud.MaxPassesPerToken == 0 || c.Cloud.MaxPassesPerToken >= 1 || c.Cloud.Patience > 0)
}

// i6NotSlower: one session alone takes at most 1.02 times as long as cloud-only streaming. It
// returns the ratio, 0 where the invariant does not apply.
func i6NotSlower(c Config, r *Result) (ratio float64) {
	if !c.comparable() || r.Violation != nil {
		return 0
	}
	alone := Run(c.CloudOnly(), false)
	if alone.Violation != nil {
		r.Violation = alone.Violation
		return 0
	}
	ratio = float64(r.Sessions[0].Done) / float64(alone.Sessions[0].Done)
	if ratio > 1.02 {
		r.Violation = &Violation{Invariant: "I6", At: r.Sessions[0].Done,
			Detail: "took longer than 1.02 times the " + alone.Sessions[0].Done.String() + " of cloud-only streaming"}
	}
	return ratio
}
