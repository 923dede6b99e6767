package load

import (
	"math"
	"os"
	"path/filepath"
	"runtime/pprof"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
)

func TestBuckets(t *testing.T) {
	h := &dto.Histogram{SampleCount: new(uint64(10)), Bucket: []*dto.Bucket{{UpperBound: new(0.001), CumulativeCount: new(uint64(5))}, {UpperBound: new(0.002), CumulativeCount: new(uint64(9))}}}
	var b buckets
	b.add(h)
	for q, want := range map[float64]float64{0.25: 0.0005, 0.5: 0.001, 0.7: 0.0015, 1: 0.002} {
		if got := b.quantile(q); math.Abs(got-want) > 1e-9 {
			t.Errorf("quantile %g is %g, want %g", q, got, want)
		}
	}
	if got := b.since(b).quantile(0.5); got != 0 {
		t.Errorf("of nothing the median is %g", got)
	}
}

func TestJain(t *testing.T) {
	if j := jain([]float64{5, 5, 5, 5}); math.Abs(j-1) > 1e-9 {
		t.Errorf("equal rates: %g", j)
	}
	if j := jain([]float64{1, 1e9, 1e9, 1e9}); math.Abs(j-0.25) > 1e-3 {
		t.Errorf("one has all: %g", j)
	}
	if j := jain(nil); j != 0 {
		t.Errorf("nobody: %g", j)
	}
}

func TestReadProfile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "cpu")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		t.Skip(err) // this test run is being profiled
	}
	x := 0
	for begin := time.Now(); time.Since(begin) < 50*time.Millisecond; x++ {
	}
	pprof.StopCPUProfile()
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	spent, err := ReadProfile(file)
	if err != nil || len(spent) == 0 || spent[0].Share <= 0 {
		t.Errorf("%v, %v", spent, err)
	}
	if _, err := ReadProfile(file + "x"); err == nil {
		t.Error("a file that is not there is read")
	}
}
