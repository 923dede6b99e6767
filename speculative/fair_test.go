package speculative

import (
	"fmt"
	"math"
	"testing"
	"time"
)

// Tenants that always have more to run than there is room for get the target by their weights, and
// one with a single session gets a place in each step.
func TestTenantsShareByWeight(t *testing.T) {
	cost := Cost{Step: 20 * time.Millisecond, Position: 100 * time.Microsecond}
	a, b, one := &Tenant{Name: "a"}, &Tenant{Name: "b", Weight: 3}, &Tenant{Name: "one"}
	var f Fair
	served, since := map[*Tenant]int{}, map[int]Time{}
	for step := range 2000 {
		var bids []Bid
		for i := range 201 {
			o := []*Tenant{a, b}[i%2]
			if i == 200 {
				o = one
			}
			values := []float64{0.9, 0.8, 0.7}
			if o == one {
				values = nil // the least dense of all
			}
			bids = append(bids, Bid{Offer: Offer{Ready: true, Values: values}, Tenant: o, Since: since[i], Behind: i%3 == 0})
		}
		f.Begin(bids)
		grants := Plan(bids, Limits{Positions: 32}, cost)
		f.Charge(bids, grants, cost)
		for _, g := range grants {
			served[bids[g.Bid].Tenant] += 1 + g.N
			since[g.Bid] = Time(step + 1)
		}
	}
	if r := float64(served[b]) / float64(served[a]); math.Abs(r-3) > 0.2 {
		t.Errorf("%d rows for weight 3, %d for weight 1: ratio %.2f", served[b], served[a], r)
	}
	if served[one] < 1990 {
		t.Errorf("a tenant's only session was in %d of 2,000 steps", served[one])
	}
}

// What a tenant did not ask for is not saved up for it.
func TestIdleTenantSavesNothing(t *testing.T) {
	cost := Cost{Step: time.Millisecond, Position: time.Millisecond}
	a, b := &Tenant{Name: "a"}, &Tenant{Name: "b"}
	var f Fair
	rows := func(who ...*Tenant) map[*Tenant]int {
		got := map[*Tenant]int{}
		for range 100 {
			var bids []Bid
			for _, o := range who {
				for range 10 {
					bids = append(bids, Bid{Offer: Offer{Ready: true}, Tenant: o})
				}
			}
			f.Begin(bids)
			grants := Plan(bids, Limits{Positions: 4}, cost)
			f.Charge(bids, grants, cost)
			for _, g := range grants {
				got[bids[g.Bid].Tenant] += 1 + g.N
			}
		}
		return got
	}
	rows(a, b)
	rows(a) // b is away
	if got := rows(a, b); got[a] < 150 {
		t.Errorf("after b's absence a gets %d of 400 rows", got[a])
	}
	if new := (&Tenant{}); !f.Settled(new) || f.Settled(a) {
		t.Error("a new account is not even, or one just charged is")
	}
}

// One tenant, or none named, changes nothing.
func TestOneTenantChangesNothing(t *testing.T) {
	cost := Cost{Step: 20 * time.Millisecond, Position: 100 * time.Microsecond}
	var plain []Bid
	for i := range 30 {
		plain = append(plain, Bid{Offer: Offer{Ready: true, Values: []float64{float64(i) / 30}}, Since: Time(i * 7 % 11), Behind: i%4 == 0})
	}
	named := append([]Bid(nil), plain...)
	for i := range named {
		named[i].Tenant = &Tenant{Name: "a"}
		named[i].Tenant = named[0].Tenant
	}
	l := Limits{Positions: 20, Sequences: 12, Prefill: 4}
	if a, b := fmt.Sprint(Plan(plain, l, cost)), fmt.Sprint(Plan(named, l, cost)); a != b {
		t.Errorf("%s, with a name %s", a, b)
	}
}
