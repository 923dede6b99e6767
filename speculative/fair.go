package speculative

import (
	"cmp"
	"container/heap"
	"math"
)

// Tenant is whose sessions are, and how much of a target they have had. Where places in steps are
// short each tenant gets them by its weight, however many sessions it has.
type Tenant struct {
	Name   string
	Weight float64 // 0: 1
	used   float64 // seconds of the target, by weight
}

// Fair divides one target among tenants by start-time fair queueing. The zero value is ready.
type Fair struct{ floor float64 }

// Begin is told of the bids of a step: who has asked for nothing in a while has saved nothing up.
func (f *Fair) Begin(bids []Bid) {
	least := math.Inf(1)
	for i := range bids {
		if t := bids[i].Tenant; t != nil {
			t.used = max(t.used, f.floor)
			least = min(least, t.used)
		}
	}
	if !math.IsInf(least, 1) {
		f.floor = max(f.floor, least)
	}
}

// Charge puts what the grants cost on their tenants' accounts.
func (f *Fair) Charge(bids []Bid, grants []Grant, c Cost) {
	for _, g := range grants {
		b := &bids[g.Bid]
		if b.Tenant == nil {
			continue
		}
		rows := g.N
		if b.Prefill == 0 {
			rows++
		}
		b.Tenant.used = max(b.Tenant.used, f.floor) + b.Tenant.price(c, rows) + c.Step.Seconds()/float64(len(grants))/b.Tenant.weight()
	}
}

// Settled says whether a tenant's account can be forgotten: it owes nothing.
func (f *Fair) Settled(t *Tenant) bool { return t.used <= f.floor }

// Less says whether a has had less than b.
func Less(a, b *Tenant) int { return cmp.Compare(a.used, b.used) }

func (t *Tenant) weight() float64 {
	if t == nil || !(t.Weight > 0) {
		return 1
	}
	return t.Weight
}

func (t *Tenant) price(c Cost, rows int) float64 {
	return (c.Sequence.Seconds() + float64(rows)*c.Position.Seconds()) / t.weight()
}

func oneTenant(bids []Bid) bool {
	for i := range bids {
		if bids[i].Tenant != bids[0].Tenant {
			return false
		}
	}
	return true
}

// lane is one tenant's roots, in their order.
type lane struct {
	tenant *Tenant
	used   float64
	roots  []root
}

type lanes []lane

// Len implements heap.Interface.
func (l lanes) Len() int { return len(l) }

// Less implements heap.Interface.
func (l lanes) Less(i, j int) bool {
	if l[i].used != l[j].used {
		return l[i].used < l[j].used
	}
	return l[i].roots[0].bid < l[j].roots[0].bid
}

// Swap implements heap.Interface.
func (l lanes) Swap(i, j int) { l[i], l[j] = l[j], l[i] }

// Push implements heap.Interface.
func (l *lanes) Push(x any) { *l = append(*l, x.(lane)) }

// Pop implements heap.Interface.
func (l *lanes) Pop() any {
	old := *l
	x := old[len(old)-1]
	*l = old[:len(old)-1]
	return x
}

// fairly reorders roots so that the tenant that has had least is next, each tenant's own in the order
// given. A root costs its rows and its part of the step.
func fairly(bids []Bid, roots []root, c Cost) []root {
	if len(roots) < 2 || oneTenant(bids) {
		return roots
	}
	at, all := map[*Tenant]int{}, lanes{}
	for _, r := range roots {
		t := bids[r.bid].Tenant
		i, ok := at[t]
		if !ok {
			i = len(all)
			at[t] = i
			all = append(all, lane{tenant: t})
			if t != nil {
				all[i].used = t.used
			}
		}
		all[i].roots = append(all[i].roots, r)
	}
	heap.Init(&all)
	step := c.Step.Seconds() / float64(len(roots))
	out := make([]root, 0, len(roots))
	for len(all) > 0 {
		l := &all[0]
		r := l.roots[0]
		out, l.roots = append(out, r), l.roots[1:]
		l.used += l.tenant.price(c, 1+r.nodes) + step/l.tenant.weight()
		if len(l.roots) == 0 {
			heap.Pop(&all)
		} else {
			heap.Fix(&all, 0)
		}
	}
	return out
}
