package link

import (
	"bytes"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

const second = time.Second

func lanes(t *testing.T, s string) (up, down *Lane) {
	t.Helper()
	c, err := Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	c.Seed = 7
	return c.Lanes()
}

func near(a, b, tolerance time.Duration) bool { return (a - b).Abs() <= tolerance }

func TestRatesAndDelaysPerDirection(t *testing.T) {
	up, down := lanes(t, "rtt=100ms,up=80kbit,down=8mbit")
	// 948 bytes and a packet's headers: 1,000 bytes, a tenth of a second at 80 kbit/s.
	var a, b, back Flow
	if d := up.Deliver(&a, 948, second); !near(d, second+150*time.Millisecond, time.Microsecond) {
		t.Errorf("up: delivered after %s", d-second)
	}
	if d := up.Deliver(&b, 948, second); !near(d, second+250*time.Millisecond, time.Microsecond) {
		t.Errorf("another connection shares the rate: delivered after %s", d-second)
	}
	if d := down.Deliver(&back, 948, second); !near(d, second+51*time.Millisecond, time.Microsecond) {
		t.Errorf("down: delivered after %s", d-second)
	}
	if d := up.Deliver(&b, 0, 10*second); !near(d, 10*second+50*time.Millisecond+5200*time.Microsecond, time.Microsecond) {
		t.Errorf("an idle link: the end takes %s", d-10*second)
	}
}

func TestLossStallsWhatFollows(t *testing.T) {
	lane, _ := lanes(t, "rtt=40ms,loss=2%")
	var f Flow
	const n = 200_000
	stalled, first, last := 0, 0, time.Duration(0)
	for i := range n {
		now := time.Duration(i) * 100 * time.Millisecond // far apart: each stall is seen by itself
		d := lane.Deliver(&f, 100, now) - now - 20*time.Millisecond
		if d > 0 {
			stalled++
		}
		if near(d, 60*time.Millisecond, 0) {
			first++
		}
		last = max(last, d)
	}
	if got := float64(first) / n; math.Abs(got-0.0196) > 0.002 {
		t.Errorf("%.4f of the packets were lost once, 2 %% of 98 %% should be", got)
	}
	if stalled <= first || last < 260*time.Millisecond {
		t.Errorf("%d stalled, %d by one loss, the longest %s: repeated losses take a timeout", stalled, first, last)
	}
	// Close together: all that follows a lost packet waits for it, and nothing overtakes.
	lane, _ = lanes(t, "rtt=40ms,jitter=9ms,loss=5%")
	f = Flow{}
	before, held := time.Duration(0), 0
	for i := range 10_000 {
		now := time.Duration(i) * time.Millisecond
		d := lane.Deliver(&f, 10, now)
		if d < before {
			t.Fatalf("packet %d arrives before the one before it", i)
		}
		if d == before {
			held++
		}
		before = d
	}
	if held < 5000 {
		t.Errorf("only %d of 10,000 packets waited behind others at 5 %% loss", held)
	}
}

func TestSameSeedSameDelivery(t *testing.T) {
	run := func() (out []time.Duration) {
		lane, _ := lanes(t, "rtt=30ms,jitter=20ms,up=1mbit,loss=3%")
		var f Flow
		for i := range 1000 {
			out = append(out, lane.Deliver(&f, i%3000, time.Duration(i)*5*time.Millisecond))
		}
		return out
	}
	if !slices.Equal(run(), run()) {
		t.Error("two runs with one seed differ")
	}
}

func parse(t *testing.T, s string) *Trace {
	t.Helper()
	tr, err := ParseTrace(strings.NewReader(s))
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

func TestTraceOpportunities(t *testing.T) {
	lane, _ := Config{Up: Way{Trace: parse(t, "10\n10\n20\n50\n")}}.Lanes()
	at := func(n int, now time.Duration) int {
		return int(lane.Deliver(new(Flow), n, now*time.Millisecond) / time.Millisecond)
	}
	for i, c := range []struct {
		n, now, want int
		why          string
	}{
		{100, 0, 10, "waits for the first opportunity"},
		{100, 0, 10, "shares it"},
		{2800, 0, 20, "fills it, the second one at 10 ms, and begins the one at 20 ms"},
		{1448, 15, 50, "no longer fits into what is left of it"},
		{1448, 51, 60, "after the period it begins anew"},
		{1448, 170, 170, "is just in time in the fourth period"},
		{1448, 100_000_021, 100_000_050, "long idle"},
	} {
		if got := at(c.n, time.Duration(c.now)); got != c.want {
			t.Errorf("%d: %d bytes at %d ms arrive at %d, want %d: %s", i, c.n, c.now, got, c.want, c.why)
		}
	}
}

func TestTraceKeepsItsRate(t *testing.T) {
	for _, name := range []string{"ATT-LTE-driving-2016", "TMobile-LTE-short"} {
		for _, way := range []string{".up", ".down"} {
			path := filepath.Join("..", "..", "..", "shared", "data", "traces", "network", name+way)
			if _, err := os.Stat(path); err != nil {
				t.Skipf("needs the recorded traces in ../shared/data: %v", err)
			}
			tr, err := ReadTrace(path)
			if err != nil {
				t.Fatal(err)
			}
			lane, _ := Config{Up: Way{Trace: tr}}.Lanes()
			var f Flow
			end, sent := time.Duration(0), 0
			for end < 2*tr.period() { // always more to send than passes
				end = lane.Deliver(&f, segmentBytes, 0)
				sent += PacketBytes
			}
			if got := float64(sent) * 8 / end.Seconds(); math.Abs(got/tr.Rate()-1) > 0.02 {
				t.Errorf("%s: %.0f bit/s passed, its mean is %.0f", name+way, got, tr.Rate())
			}
		}
	}
}

func TestBadTraces(t *testing.T) {
	for text, want := range map[string]string{
		"":                         "empty",
		"0\n0\n":                   "no millisecond",
		"1\n5\n4\n":                "goes back from 5 to 4",
		"1\nx\n":                   `line 2 is "x"`,
		"-1\n":                     "line 1",
		"1.5\n":                    "line 1",
		"4294967295\n":             "line 1",
		"1\n\n2\n":                 "line 2",
		strings.Repeat("1", 1<<20): "too long",
	} {
		_, err := ParseTrace(strings.NewReader(text))
		if !errors.Is(err, ErrTrace) || !strings.Contains(err.Error(), want) {
			t.Errorf("%.20q: %v, want %q", text, err, want)
		}
	}
	if _, err := ParseTrace(zeros{}); !errors.Is(err, ErrTrace) || !strings.Contains(err.Error(), "more than") {
		t.Errorf("an endless trace: %v", err)
	}
	if tr := parse(t, "1\r\n3\r\n"); tr.period() != 3*time.Millisecond {
		t.Errorf("with line ends of Windows: %v", tr)
	}
}

// zeros is a file without end.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = "0\n"[i%2]
	}
	return len(b) &^ 1, nil
}

func TestParse(t *testing.T) {
	c, err := Parse("lte,up=25kbit, loss-down=2%,rtt=70ms")
	if err != nil || c.RTT != 70*time.Millisecond || c.Jitter != 10*time.Millisecond || c.Up.Rate != 25_000 || c.Down.Rate != 30_000_000 ||
		c.Up.Loss != 0.001 || c.Down.Loss != 0.02 {
		t.Errorf("%+v, %v", c, err)
	}
	if c, err := Parse("rate=1.5mbit,loss=0.01"); err != nil || c.Up.Rate != 1_500_000 || c.Down.Rate != 1_500_000 || c.Down.Loss != 0.01 {
		t.Errorf("%+v, %v", c, err)
	}
	for s, want := range map[string]string{
		"":                         "empty",
		"rtt":                      `"rtt" is no setting`,
		"rtt=5ms,lte":              `"lte" is no setting`,
		"rtt=5":                    "such as 50ms",
		"rtt=-1ms":                 "such as 50ms",
		"rtt=2h":                   "such as 50ms",
		"up=fast":                  "such as 25kbit",
		"up=-1":                    "such as 25kbit",
		"up=NaN":                   "such as 25kbit",
		"loss=60%":                 "such as 1%",
		"loss=NaN":                 "such as 1%",
		"delay=5ms":                "no setting \"delay\"",
		"header=-1":                "bytes of headers",
		"trace=a":                  "two files",
		"trace=:":                  "two files",
		"trace=/nowhere.up:":       "no such file",
		"rtt=1ms,trace=lane.go:":   "no trace in mahimahi's format",
		"up=1mbit,trace=one.up:":   "either a rate or a trace",
		"down=1mbit,trace=:one.up": "either a rate or a trace",
	} {
		if strings.Contains(s, "one.up") {
			path := filepath.Join(t.TempDir(), "one.up")
			if err := os.WriteFile(path, []byte("1\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			s = strings.Replace(s, "one.up", path, 1)
		}
		if _, err := Parse(s); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v, want %q", s, err, want)
		}
	}
	for _, p := range Presets() {
		c, err := Parse(p[0])
		if err != nil {
			t.Errorf("preset %s: %v", p[0], err)
		}
		if again, err := Parse(c.String()); err != nil || again != c {
			t.Errorf("preset %s is told as %s: %v", p[0], c, err)
		}
		if !strings.Contains(Forms, p[0]) {
			t.Errorf("preset %s is not among those that Forms lists", p[0])
		}
	}
}

func FuzzParseTrace(f *testing.F) {
	for _, s := range []string{"", "1\n2\n3\n", "0\n0\n5\n", "9\n1\n", "1\r\n", "00000000000000000001\n", "2147483647\n"} {
		f.Add([]byte(s), 1500, int64(1))
	}
	f.Fuzz(func(t *testing.T, data []byte, n int, now int64) {
		tr, err := ParseTrace(bytes.NewReader(data))
		if err != nil {
			if !errors.Is(err, ErrTrace) {
				t.Fatalf("another error: %v", err)
			}
			return
		}
		lane, _ := Config{Up: Way{Trace: tr}}.Lanes()
		var f Flow
		begin := time.Duration(uint64(now) % uint64(24*time.Hour))
		last := begin
		for i := range 3 {
			at := lane.Deliver(&f, int(uint(n)%(64<<10)), begin+time.Duration(i))
			if at < last {
				t.Fatalf("delivered at %s, before %s", at, last)
			}
			last = at
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add("rtt=50ms,jitter=5ms,up=25kbit,down=10mbit,loss=1%")
	f.Add("lte,rate=1e9")
	f.Fuzz(func(t *testing.T, s string) {
		if strings.Contains(s, "trace") {
			return // opens files
		}
		c, err := Parse(s)
		if err != nil {
			return
		}
		if _, err := Parse(c.String()); err != nil {
			t.Fatalf("%q is told as %q: %v", s, c, err)
		}
		up, down := c.Lanes()
		for _, l := range []*Lane{up, down} {
			if d := l.Deliver(new(Flow), 1000, 0); d < 0 {
				t.Fatalf("%q delivers after %s", s, d)
			}
		}
	})
}
