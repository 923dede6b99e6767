package library

import (
	"fmt"
	"io"
)

// Report is what `outrider-llamacpp doctor --json` prints: what a plugin makes of the libraries.
type Report struct {
	Dir     string   `json:"dir,omitempty"`
	Source  string   `json:"source,omitempty"`
	Version string   `json:"version,omitempty"` // as the library says
	Tested  bool     `json:"tested"`            // it is the version that the engine was tested with
	System  string   `json:"system,omitempty"`  // instruction sets and features
	Devices []Device `json:"devices,omitempty"`
	Note    string   `json:"note,omitempty"`  // see Idle
	Error   string   `json:"error,omitempty"` // why it cannot be used, and what to do
}

// Device is something that can run a model.
type Device struct {
	Name        string `json:"name"`
	Description string `json:"description"`
	Kind        string `json:"kind"`  // CPU, GPU, IGPU, ACCEL
	Free        uint64 `json:"free"`  // bytes of memory
	Total       uint64 `json:"total"` // bytes
}

// Print writes the report for a person.
func (r Report) Print(w io.Writer) {
	if r.Error != "" {
		fmt.Fprintf(w, "  not usable  %s\n", r.Error)
		return
	}
	note := ""
	if !r.Tested {
		note = " (this engine was tested with " + Version + ": its structures match, but `outrider install llamacpp` is safer)"
	}
	fmt.Fprintf(w, "  libraries   %s (%s)\n  version     %s%s\n", r.Dir, r.Source, r.Version, note)
	for _, d := range r.Devices {
		fmt.Fprintf(w, "  device      %-6s %s, %.1f of %.1f GiB free (%s)\n", d.Kind, d.Description, gib(d.Free), gib(d.Total), d.Name)
	}
	fmt.Fprintf(w, "  features    %s\n", r.System)
	if r.Note != "" {
		fmt.Fprintf(w, "  note        %s\n", r.Note)
	}
}

func gib(n uint64) float64 { return float64(n) / (1 << 30) }
