package link

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Way is what one direction of a link can carry. The zero Way carries everything at once.
type Way struct {
	Rate  int64   // bits per second, shared by all connections; 0: no bound
	Loss  float64 // share of the packets that are lost: TCP sends them again, and all behind them waits
	Trace *Trace  // recorded delivery opportunities, in place of Rate; nil: none
}

// maxRTT and maxRate bound what a profile may ask for.
const (
	maxRTT  = time.Minute
	maxRate = 1 << 50
	// maxHeader leaves room for tunnels.
	maxHeader = 500
)

// presets are rounded from what such links commonly show; a recorded trace says more.
func presets() map[string]string {
	return map[string]string{
		"fiber":     "rtt=10ms,jitter=1ms,up=100mbit,down=300mbit",
		"wifi":      "rtt=20ms,jitter=5ms,up=20mbit,down=50mbit,loss=0.1%",
		"5g":        "rtt=25ms,jitter=5ms,up=20mbit,down=100mbit",
		"lte":       "rtt=50ms,jitter=10ms,up=8mbit,down=30mbit,loss=0.1%",
		"3g":        "rtt=120ms,jitter=30ms,up=384kbit,down=2mbit,loss=0.5%",
		"leo":       "rtt=40ms,jitter=15ms,up=10mbit,down=100mbit,loss=0.5%",
		"satellite": "rtt=600ms,jitter=10ms,up=3mbit,down=25mbit,loss=0.2%",
		"thin":      "rtt=100ms,up=25kbit,down=100kbit",
	}
}

// Presets lists the named links and what they stand for, by name.
func Presets() (rows [][2]string) {
	p := presets()
	for _, name := range slices.Sorted(maps.Keys(p)) {
		rows = append(rows, [2]string{name, p[name]})
	}
	return rows
}

// Forms says in one line what Parse reads.
const Forms = "rtt=50ms,jitter=5ms,up=25kbit,down=10mbit,loss=1%, a recorded trace=FILE.up:FILE.down, or fiber, wifi, 5g, lte, 3g, leo, satellite, thin"

// Parse reads a link: settings joined by commas, the later ones count, or a preset's name with or
// without settings after it. Rates are in bits per second with bit, kbit, mbit or gbit; rate and loss are
// for both directions, up, down, loss-up and loss-down for one. header is what a packet's headers count (52
// bytes; about 4 where they are compressed, RFC 5795). Files of traces are read.
func Parse(s string) (Config, error) {
	var c Config
	if strings.TrimSpace(s) == "" {
		return c, fmt.Errorf("the link is empty: use %s", Forms)
	}
	for i, part := range strings.Split(s, ",") {
		part = strings.TrimSpace(part)
		name, value, ok := strings.Cut(part, "=")
		if p, known := presets()[part]; known && i == 0 {
			var err error
			if c, err = Parse(p); err != nil {
				return c, err
			}
			continue
		}
		if !ok {
			return c, fmt.Errorf("%q is no setting of a link and, at its beginning, no preset: use %s", part, Forms)
		}
		if err := c.set(name, value); err != nil {
			return c, fmt.Errorf("%q: %w", part, err)
		}
	}
	return c, c.Validate()
}

func (c *Config) set(name, value string) (err error) {
	switch name {
	case "rtt":
		c.RTT, err = duration(value)
	case "jitter":
		c.Jitter, err = duration(value)
	case "up":
		c.Up.Rate, err = rate(value)
	case "down":
		c.Down.Rate, err = rate(value)
	case "rate":
		c.Up.Rate, err = rate(value)
		c.Down.Rate = c.Up.Rate
	case "loss-up":
		c.Up.Loss, err = share(value)
	case "loss-down":
		c.Down.Loss, err = share(value)
	case "loss":
		c.Up.Loss, err = share(value)
		c.Down.Loss = c.Up.Loss
	case "header":
		if c.Header, err = strconv.Atoi(value); err != nil || c.Header < 0 || c.Header > maxHeader {
			return fmt.Errorf("must be bytes of headers per packet, 0 to %d", maxHeader)
		}
		if c.Header == 0 {
			c.Header = -1
		}
	case "trace":
		err = c.traces(value)
	default:
		return fmt.Errorf("a link has no setting %q: use rtt, jitter, up, down, rate, loss, loss-up, loss-down, header or trace", name)
	}
	return err
}

func duration(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 || d > maxRTT {
		return 0, fmt.Errorf("must be a time from 0s to %s, such as 50ms", maxRTT)
	}
	return d, nil
}

func rate(s string) (int64, error) {
	number, factor := strings.ToLower(s), 1.0
	for _, u := range []struct {
		name   string
		factor float64
	}{{"kbit", 1e3}, {"mbit", 1e6}, {"gbit", 1e9}, {"bit", 1}} {
		if cut, ok := strings.CutSuffix(number, u.name); ok {
			number, factor = cut, u.factor
			break
		}
	}
	v, err := strconv.ParseFloat(number, 64)
	if bits := v * factor; err == nil && (bits == 0 || bits >= 1 && bits <= maxRate) {
		return int64(bits), nil
	}
	return 0, fmt.Errorf("must be bits per second, such as 25kbit or 10mbit; 0: no bound")
}

func share(s string) (float64, error) {
	number, percent := strings.CutSuffix(s, "%")
	v, err := strconv.ParseFloat(number, 64)
	if percent {
		v /= 100
	}
	if err != nil || !(v >= 0 && v <= maxLoss) {
		return 0, fmt.Errorf("must be a share of packets from 0%% to %g%%, such as 1%%", 100*maxLoss)
	}
	return v, nil
}

// maxLoss leaves a link that delivers in bearable time.
const maxLoss = 0.5

// traces reads UP:DOWN; one of them may be empty.
func (c *Config) traces(value string) (err error) {
	up, down, ok := strings.Cut(value, ":")
	if !ok || up+down == "" {
		return fmt.Errorf("must name two files, UP:DOWN (either may be empty)")
	}
	if up != "" {
		if c.Up.Trace, err = ReadTrace(up); err != nil {
			return err
		}
	}
	if down != "" {
		c.Down.Trace, err = ReadTrace(down)
	}
	return err
}

// String tells a link as Parse reads it.
func (c Config) String() string {
	s := "rtt=" + c.RTT.String()
	if c.Jitter > 0 {
		s += ",jitter=" + c.Jitter.String()
	}
	for _, w := range []struct {
		Way
		name string
	}{{c.Up, "up"}, {c.Down, "down"}} {
		if w.Rate > 0 {
			s += fmt.Sprintf(",%s=%s", w.name, bits(w.Rate))
		}
		if w.Loss > 0 {
			s += fmt.Sprintf(",loss-%s=%.4g%%", w.name, 100*w.Loss)
		}
	}
	if c.Header != 0 {
		s += fmt.Sprintf(",header=%d", max(0, c.Header))
	}
	if c.Up.Trace != nil || c.Down.Trace != nil {
		s += ",trace=" + c.Up.Trace.file() + ":" + c.Down.Trace.file()
	}
	return s
}

func bits(rate int64) string {
	for _, u := range []struct {
		factor int64
		name   string
	}{{1e9, "gbit"}, {1e6, "mbit"}, {1e3, "kbit"}} {
		if rate >= u.factor && rate%(u.factor/100) == 0 {
			return strconv.FormatFloat(float64(rate)/float64(u.factor), 'f', -1, 64) + u.name
		}
	}
	return strconv.FormatInt(rate, 10) + "bit"
}

// Validate says what is impossible about a link.
func (c *Config) Validate() error {
	if c.RTT < 0 || c.Jitter < 0 {
		return fmt.Errorf("a link's times must not be negative")
	}
	for _, w := range []Way{c.Up, c.Down} {
		switch {
		case w.Rate < 0 || w.Rate > maxRate:
			return fmt.Errorf("a link's rate is %d bits per second, must be 0 (no bound) or more", w.Rate)
		case !(w.Loss >= 0 && w.Loss <= maxLoss) || math.IsNaN(w.Loss):
			return fmt.Errorf("a link's loss is %g, must be between 0 and %g", w.Loss, maxLoss)
		case w.Rate > 0 && w.Trace != nil:
			return fmt.Errorf("a link's direction has either a rate or a trace: leave one out")
		}
	}
	return nil
}
