package simulate

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/outrider-llm/outrider/speculative"
)

func TestMedian(t *testing.T) {
	v := make([]float64, 101)
	for i := range v {
		v[len(v)-1-i] = float64(i)
	}
	mid, low, high := median(v)
	if mid != 50 || low != 40 || high != 61 {
		t.Errorf("median %g in %g to %g, want 50 in 40 to 61", mid, low, high)
	}
	if mid, _, _ = median(nil); mid != 0 {
		t.Errorf("the median of nothing is %g", mid)
	}
}

// With a step cost and nothing per row or sequence a cloud-only target carries what fits into a step.
func TestCapacity(t *testing.T) {
	c := standard(10 * time.Millisecond)
	c.Model.Target = speculative.Cost{Step: 100 * time.Millisecond, Position: time.Nanosecond}
	c.Limits = speculative.Limits{Positions: 32}
	c.Strategy = CloudOnly
	n, err := Capacity(context.Background(), c, 8)
	if err != nil {
		t.Fatal(err)
	}
	if n < 36 || n > 40 { // 10 steps of 32 a second, 8 tokens each
		t.Errorf("a target of 320 tokens/s carries %d sessions at 8 tokens/s", n)
	}
	c.Strategy = Colocated
	if co, _ := Capacity(context.Background(), c, 8); co < 1 {
		t.Errorf("co-located speculation carries %d sessions", co)
	}
}

func TestReadArrivals(t *testing.T) {
	const trace = "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03.9799600,4808,10\n2023-11-16 18:17:05.9799600,3180,8\n"
	a, err := ReadArrivals(strings.NewReader(trace), 0, 2, 4000)
	if err != nil {
		t.Fatal(err)
	}
	if len(a) != 2 || a[1] != (Arrival{At: time.Second, Prompt: 3180, Tokens: 8}) || a[0].Prompt != 4000 {
		t.Errorf("got %+v", a)
	}
	c := standard(50 * time.Millisecond)
	c.Arrivals = a
	o, err := Run(context.Background(), c)
	if err != nil || o.Sessions[0].Tokens != 10 || o.Sessions[1].Tokens != 8 || o.Sessions[1].Begun != time.Second {
		t.Errorf("got %+v, %v", o.Sessions, err)
	}
	for name, bad := range map[string]string{"empty": "", "no rows": "a,b,c\n", "fields": "a,b,c\n1,2\n", "time": "a,b,c\nnow,1,2\n", "count": "a,b,c\n2023-11-16 18:17:03.9,x,2\n"} {
		if _, err := ReadArrivals(strings.NewReader(bad), 0, 1, 0); !errors.Is(err, ErrConfig) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
