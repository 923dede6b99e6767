package sensors

import (
	"math"
	"runtime"
	"testing"
	"testing/fstest"
	"time"
)

func files(kv ...string) fstest.MapFS {
	m := fstest.MapFS{}
	for i := 0; i < len(kv); i += 2 {
		m[kv[i]] = &fstest.MapFile{Data: []byte(kv[i+1] + "\n")}
	}
	return m
}

func TestReading(t *testing.T) {
	r := New(files(
		"sys/class/power_supply/BAT0/type", "Battery", "sys/class/power_supply/BAT0/capacity", "40", "sys/class/power_supply/BAT0/status", "Discharging",
		"sys/class/power_supply/BAT1/type", "Battery", "sys/class/power_supply/BAT1/capacity", "60", "sys/class/power_supply/BAT1/status", "Unknown",
		"sys/class/power_supply/mouse/type", "Battery", "sys/class/power_supply/mouse/scope", "Device", "sys/class/power_supply/mouse/capacity", "1",
		"sys/class/power_supply/AC/type", "Mains", "sys/class/power_supply/AC/online", "0",
		"sys/class/thermal/thermal_zone0/temp", "45000", "sys/class/thermal/thermal_zone1/temp", "61500", "sys/class/thermal/thermal_zone2/temp", "-274000",
		"proc/loadavg", "1.50 1.00 0.50 2/300 12345")).Read()
	if r.Battery != 0.5 || r.Charging || !r.HasMains || r.Temperature != 61.5 || r.Load != 1.5/float64(runtime.NumCPU()) {
		t.Errorf("%+v", r)
	}
	if r := New(files("proc/loadavg", "what")).Read(); !math.IsNaN(r.Battery) || !math.IsNaN(r.Temperature) || !math.IsNaN(r.Load) || r.HasMains {
		t.Errorf("nothing is known: %+v", r)
	}
	New(nil).Read() // whatever this machine has
}

func TestReadingIsKept(t *testing.T) {
	m := files("sys/class/thermal/thermal_zone0/temp", "45000")
	s, now := New(m), time.Unix(1, 0)
	s.now = func() time.Time { return now }
	s.Read()
	m["sys/class/thermal/thermal_zone0/temp"].Data = []byte("50000")
	if r := s.Read(); r.Temperature != 45 {
		t.Errorf("%+v", r)
	}
	now = now.Add(fresh)
	if r := s.Read(); r.Temperature != 50 {
		t.Errorf("%+v", r)
	}
}

// Parts of a package and a second door to it do not count twice; counters wrap around.
func TestJoules(t *testing.T) {
	const zone = "sys/class/powercap/intel-rapl:0"
	m := files(zone+"/energy_uj", "900000000", zone+"/max_energy_range_uj", "1000000000",
		zone+":0/energy_uj", "5", "sys/class/powercap/intel-rapl-mmio:0/energy_uj", "5")
	s := New(m)
	m[zone+"/energy_uj"].Data = []byte("930000000")
	m[zone+":0/energy_uj"].Data = []byte("999999")
	if j, ok := s.Joules(); !ok || j != 30 {
		t.Errorf("%v %v", j, ok)
	}
	m[zone+"/energy_uj"].Data = []byte("50000000")
	if j, ok := s.Joules(); !ok || j != 150 {
		t.Errorf("%v %v", j, ok)
	}
	const battery = "sys/class/power_supply/BAT0"
	m = files(battery+"/type", "Battery", battery+"/energy_now", "50000000")
	s = New(m)
	m[battery+"/energy_now"].Data = []byte("49000000")
	s.Joules()
	m[battery+"/energy_now"].Data = []byte("49500000") // charged meanwhile
	if j, ok := s.Joules(); !ok || j != 3600 {
		t.Errorf("%v %v", j, ok)
	}
	if _, ok := New(files()).Joules(); ok {
		t.Error("nothing tells")
	}
}
