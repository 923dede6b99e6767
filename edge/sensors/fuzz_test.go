package sensors

import (
	"math"
	"testing"
)

// FuzzReading: whatever the system's files say, a reading is in range or not known.
func FuzzReading(f *testing.F) {
	f.Add("Battery", "50", "Discharging", "45000", "1.5 1 1", "1000", "2000")
	f.Add("Mains", "1e400", "", "-1", "NaN", "-5", "Inf")
	f.Add("USB", "nan", "Unknown", "0x10", "", "1e30", "1e30")
	f.Fuzz(func(t *testing.T, kind, capacity, status, temp, load, energy, most string) {
		const power, rapl = "sys/class/power_supply/BAT0/", "sys/class/powercap/intel-rapl:0/"
		m := files(power+"type", kind, power+"capacity", capacity, power+"online", capacity, power+"status", status, power+"energy_now", energy,
			"sys/class/thermal/thermal_zone0/temp", temp, "proc/loadavg", load, rapl+"energy_uj", energy, rapl+"max_energy_range_uj", most)
		s := New(m)
		r := s.Read()
		if !(math.IsNaN(r.Battery) || r.Battery >= 0 && r.Battery <= 1) || !(math.IsNaN(r.Temperature) || r.Temperature > 0 && r.Temperature < 200) ||
			!(math.IsNaN(r.Load) || r.Load >= 0 && !math.IsInf(r.Load, 0)) {
			t.Fatalf("%+v", r)
		}
		m[rapl+"energy_uj"].Data, m[power+"energy_now"].Data = []byte(most), []byte(most)
		if j, _ := s.Joules(); !(j >= 0) || math.IsInf(j, 0) {
			t.Fatalf("%g joules", j)
		}
	})
}
