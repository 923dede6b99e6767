//go:build verify

package page

import (
	"fmt"
	"strings"
	"testing"
)

// Each mode, chosen in the page's settings of a real edge: the note below the answer says where it was
// written, and the panel counts it.
func TestModesInThePage(t *testing.T) {
	program := built(t)
	cloud, web := freeAddress(t), freeAddress(t)
	start(t, program, "cloud", "--listen", cloud, "--admin", "", "--pace", "10ms+0.3ms")
	start(t, program, "edge", "--cloud", cloud, "--listen", freeAddress(t), "--admin", "", "--http", web, "--cache", "none")
	ready(t, web)
	b := newBrowser(t, "http://"+web, look{})
	for i, c := range []struct{ mode, note string }{
		{"cooperative", ""}, {"only_on_device", "Answered on this device"}, {"prefer_on_device", "Answered on this device"},
		{"only_in_cloud", "Answered in the cloud"}, {"prefer_in_cloud", "Answered in the cloud"}, {"auto", ""},
	} {
		b.do(fmt.Sprintf(`localStorage.setItem("outrider.settings", JSON.stringify({ temperature: 0, maxTokens: 60, mode: %q, panel: true }))`, c.mode))
		b.open("http://" + web)
		b.until("the link", `document.querySelector("#link").dataset.state == "fine"`)
		b.send("Tell me a story about a dog.")
		b.answered()
		notes := b.seen(".answer .note")
		last := ""
		if len(notes) > 0 {
			last = strings.Join(notes, " ")
		}
		if !strings.Contains(last, c.note) || c.mode == "cooperative" && strings.Contains(last, "Answered") {
			t.Errorf("%s: the notes say %q", c.mode, notes)
		}
		b.until("the totals", fmt.Sprintf(`document.querySelector(".totals dd").textContent.startsWith("%d ")`, i+1))
		t.Logf("%s: %q", c.mode, notes)
		if c.mode == "auto" {
			b.document("page-routing.png")
		}
	}
}
