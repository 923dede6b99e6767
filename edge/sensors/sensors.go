// Package sensors reads what a device tells of itself: battery, temperature, load, energy. What it does
// not tell, on this system or to this user, stays unknown.
package sensors

import (
	"io/fs"
	"math"
	"os"
	"path"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Reading is the state of the device; NaN: not known.
type Reading struct {
	Battery     float64 // charge, 0 to 1, of all batteries
	Charging    bool    // on mains, or full
	HasMains    bool    // Charging is known
	Temperature float64 // of the hottest zone, degrees Celsius
	Load        float64 // running processes per core, mean of a minute
}

// Sensors read the system's files. Its methods are safe for concurrent use.
type Sensors struct {
	root fs.FS
	now  func() time.Time

	mu     sync.Mutex
	at     time.Time
	last   Reading
	energy map[string]uint64 // counters at the last look, by zone, microjoules
	spent  float64           // joules since the first look
	zones  int
}

// New reads from a root with sys and proc; nil: the machine's.
func New(root fs.FS) *Sensors {
	if root == nil {
		root = os.DirFS("/")
	}
	s := &Sensors{root: root, now: time.Now, energy: map[string]uint64{}}
	s.Joules() // what is counted begins here
	return s
}

// fresh is how long a reading counts as now.
const fresh = time.Second

// Read returns the state of the device, at most a second old.
func (s *Sensors) Read() Reading {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := s.now(); s.at.IsZero() || now.Sub(s.at) >= fresh {
		s.at, s.last = now, s.read()
	}
	return s.last
}

func (s *Sensors) read() Reading {
	r := Reading{Battery: math.NaN(), Temperature: math.NaN(), Load: math.NaN()}
	s.power(&r)
	for _, zone := range s.glob("sys/class/thermal/thermal_zone*") {
		if v, ok := s.number(zone, "temp"); ok && v > 0 && v < 200_000 && !(v/1000 <= r.Temperature) {
			r.Temperature = v / 1000
		}
	}
	if f := strings.Fields(s.text("proc/loadavg")); len(f) > 0 {
		if v, err := strconv.ParseFloat(f[0], 64); err == nil {
			r.Load = v / float64(runtime.NumCPU())
		}
	}
	return r
}

// power sums up batteries and looks for mains.
func (s *Sensors) power(r *Reading) {
	sum, n := 0.0, 0
	for _, dir := range s.glob("sys/class/power_supply/*") {
		switch s.text(dir + "/type") {
		case "Battery":
			if s.text(dir+"/scope") == "Device" {
				continue // of a mouse or the like
			}
			if v, ok := s.number(dir, "capacity"); ok {
				sum, n = sum+v/100, n+1
			}
			if st := s.text(dir + "/status"); st != "" && st != "Unknown" {
				r.HasMains = true
				r.Charging = r.Charging || st != "Discharging"
			}
		case "Mains", "USB":
			if v, ok := s.number(dir, "online"); ok {
				r.HasMains = true
				r.Charging = r.Charging || v > 0
			}
		}
	}
	if n > 0 {
		r.Battery = min(1, max(0, sum/float64(n)))
	}
}

// Joules is the energy that the packages of the processor have used since New, of all programs, or where they
// do not tell, what the batteries have given; false: neither is known. Call it at least every few minutes: the counters wrap around.
func (s *Sensors) Joules() (float64, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.zones = 0
	s.packages()
	s.batteries()
	return s.spent, s.zones > 0
}

// packages counts what the processor's packages have used.
func (s *Sensors) packages() {
	for _, zone := range s.glob("sys/class/powercap/*") {
		name := path.Base(zone)
		if strings.Count(name, ":") != 1 || strings.HasPrefix(name, "intel-rapl-mmio") {
			continue // a part of a package, or the same one again
		}
		v, ok := s.number(zone, "energy_uj")
		if !ok || v < 0 {
			continue
		}
		s.zones++
		now := uint64(v)
		last, seen := s.energy[name]
		s.energy[name] = now
		switch most, ok := s.number(zone, "max_energy_range_uj"); {
		case !seen:
		case now >= last:
			s.spent += float64(now-last) / 1e6
		case ok && most > float64(last):
			s.spent += (most - float64(last) + v) / 1e6
		}
	}
}

// batteries counts what they have given, where the processor tells nothing.
func (s *Sensors) batteries() {
	if s.zones > 0 {
		return
	}
	for _, dir := range s.glob("sys/class/power_supply/*") {
		v, ok := s.number(dir, "energy_now") // microwatt hours
		if s.text(dir+"/type") != "Battery" || s.text(dir+"/scope") == "Device" || !ok || v < 0 {
			continue
		}
		s.zones++
		now := uint64(v)
		if last, seen := s.energy[dir]; seen && now < last {
			s.spent += float64(last-now) * 3600 / 1e6
		}
		s.energy[dir] = now
	}
}

func (s *Sensors) glob(pattern string) []string {
	m, _ := fs.Glob(s.root, pattern) // the patterns are right
	return m
}

// text reads a short file; empty when it cannot be read.
func (s *Sensors) text(name string) string {
	b, err := fs.ReadFile(s.root, name)
	if err != nil || len(b) > 4096 {
		return ""
	}
	return strings.TrimSpace(string(b))
}

func (s *Sensors) number(dir, name string) (float64, bool) {
	v, err := strconv.ParseFloat(s.text(dir+"/"+name), 64)
	return v, err == nil
}
