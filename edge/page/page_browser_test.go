//go:build verify

package page

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestSendStreamReload(t *testing.T) {
	f := newFake(t)
	f.pause = 20 * time.Millisecond
	b := newBrowser(t, f.URL, look{})
	b.document("page-welcome.png")
	b.send("Tell me of Max")
	b.until("pending tokens", `document.querySelector(".writing .pending")?.textContent`)
	b.until("a half-written answer", `document.querySelectorAll(".writing .t").length > 20`)
	b.document("page-made-up.png")
	b.answered()
	b.want(".user .bubble", "Tell me of Max")
	b.want(".answer .md", answerOf("Tell me of Max"))
	if got := eval[int](b, `document.querySelectorAll(".pending").length - document.querySelectorAll(".panel .pending").length`); got != 0 {
		t.Errorf("%d pending texts are left", got)
	}
	if n, want := len(b.seen(".answer .t")), len(pieces(answerOf(""))); n != want {
		t.Errorf("%d tokens are shown, want %d", n, want)
	}
	if got := eval[string](b, `document.querySelector("#messages").innerText`); strings.Contains(got, "undefined") || strings.Contains(got, "NaN") {
		t.Errorf("the page shows %s", got)
	}
	b.ask("sample, please")
	b.want(".answer:last-child h4", "The tide")
	b.want(".answer:last-child th", "Place", "Range", "Kind")
	b.want(".answer:last-child a", "the tables")
	b.document("page-markdown.png")
	if got := f.bodies(); len(got) != 2 || len(got[1]["messages"].([]any)) != 3 || got[0]["stream"] != true {
		t.Errorf("requests: %v", got)
	}
	before := b.seen(".message")
	b.open(eval[string](b, "location.href"))
	b.until("the conversation", `document.querySelectorAll(".message").length == 4`)
	b.want(".message", before...)
	b.want(".conversation.current .open", "Tell me of Max")
	if n := len(b.seen(".answer .t.correction")); n == 0 {
		t.Error("the fates are gone after a reload")
	}
	b.click("#new")
	b.until("an empty conversation", `document.querySelector(".welcome")`)
	b.ask("Another")
	b.want(".conversation .open", "Another", "Tell me of Max")
	b.click(".conversation:not(.current) .open")
	b.until("the first conversation", `document.querySelectorAll(".message").length == 4`)
	b.click("#delete")
	b.until("the deletion", `document.querySelectorAll(".conversation").length == 1`)
	b.click("#toast button")
	b.until("the deletion undone", `document.querySelectorAll(".conversation").length == 2 && document.querySelectorAll(".message").length == 4`)
}

func TestStopRegenerateEdit(t *testing.T) {
	f := newFake(t)
	f.pause = 60 * time.Millisecond
	b := newBrowser(t, f.URL, look{})
	b.send("long 2000")
	b.until("some text", `document.querySelectorAll(".writing .t").length > 10`)
	b.key("Escape")
	b.answered()
	b.want(".answer .note", "Stopped")
	f.set(func() { f.pause = time.Millisecond })
	b.do(`document.querySelector('.answer [aria-label="Regenerate"]').click()`)
	b.until("the second version", `document.querySelectorAll(".answer .t").length > 1900 && !document.querySelector(".writing")`)
	b.want(".answer .versions > span", "2/2")
	b.click(`.answer [aria-label="Earlier version"]`)
	b.until("the first version", `document.querySelector(".answer .versions > span")?.textContent == "1/2"`)
	if n := len(b.seen(".answer .t")); n > 1000 {
		t.Errorf("the first version has %d tokens", n)
	}
	b.click(`.user [aria-label="Edit"]`)
	b.until("the message in the box", `document.querySelector("#prompt").value == "long 2000"`)
	b.do(`document.querySelector("#prompt").select()`)
	b.text("Tell me of Max")
	b.key("Enter")
	b.until("the new answer", `document.querySelector(".answer")?.textContent.includes("very happy") && !document.querySelector(".writing")`)
	b.want(".user .bubble", "Tell me of Max")
	b.want(".user .versions > span", "2/2")
	b.click(`.user [aria-label="Earlier version"]`)
	b.until("the question as it was", `document.querySelector(".user .bubble")?.textContent == "long 2000"`)
	b.open(f.URL + "/#" + eval[string](b, `location.hash.slice(1)`))
	b.until("the choice is kept", `document.querySelector(".user .bubble")?.textContent == "long 2000"`)
}

func TestErrorsAreHelpful(t *testing.T) {
	f := newFake(t)
	b := newBrowser(t, f.URL, look{expect: []string{"Failed to load resource", "ERR_INCOMPLETE_CHUNKED_ENCODING"}})
	for _, c := range []struct {
		status     int
		code, want string
	}{
		{400, "context_length_exceeded", "longer than the model can read"},
		{404, "model_not_found", "Choose another one in the settings"},
		{429, "rate_limit_exceeded", "busy"},
		{500, "", "Its log says more"},
		{503, "service_unavailable", "the cloud is out of reach"},
	} {
		f.set(func() {
			f.fail = func(w http.ResponseWriter) bool { apiError(w, c.status, c.code, "details of "+c.code); return true }
		})
		b.ask(fmt.Sprint("error ", c.status))
		if got := b.seen(".answer:last-child .problem p"); len(got) != 2 || !strings.Contains(got[0], c.want) || got[1] != "details of "+c.code {
			t.Errorf("%d: %q", c.status, got)
		}
	}
	f.set(func() { f.fail = nil })
	b.click(".answer:last-child .retry")
	b.until("the answer", `document.querySelector(".answer:last-child")?.textContent.includes("very happy") && !document.querySelector(".writing")`)
	f.set(func() { f.breakAt = 20; f.pause = 10 * time.Millisecond })
	b.ask("broken")
	if got := b.seen(".answer:last-child .problem p"); len(got) == 0 || !strings.Contains(got[0], "connection to the edge was lost") {
		t.Errorf("a broken stream: %q", got)
	}
	if n := len(b.seen(".answer:last-child .t")); n < 15 {
		t.Errorf("%d tokens of the broken answer are shown", n)
	}
	b.document("page-error.png")
	b.ask("unsafe") // fails as well, but shows the markup
	f.set(func() { f.breakAt = 0 })
	b.ask("unsafe")
	if title := eval[string](b, "document.title"); strings.Contains(title, "owned") {
		t.Error("markup of an answer ran")
	}
	if n := eval[int](b, `document.querySelectorAll(".md img, .md script, .md [onerror], .md a[href^=javascript]").length`); n != 0 {
		t.Errorf("%d elements of raw markup", n)
	}
}

func TestCloudLostEdgeGoneKeyWanted(t *testing.T) {
	f := newFake(t)
	f.pause = 30 * time.Millisecond
	b := newBrowser(t, f.URL, look{expect: []string{"Failed to load resource"}})
	b.until("the link", `document.querySelector("#link").dataset.state == "fine"`)
	b.want("#link-text", "llama-70b · 42.4 ms")
	f.set(func() { f.unlinked = [2]int{20, 30} })
	b.send("Tell me of Max")
	f.set(func() { f.cloud = false })
	b.until("the banner", `!document.querySelector("#banner").hidden && document.querySelector("#banner").textContent.includes("cloud is out of reach")`)
	b.document("page-cloud-lost.png")
	f.set(func() { f.cloud = true })
	b.answered()
	b.until("the link again", `document.querySelector("#link").dataset.state == "fine"`)
	b.until("the banner to go", `document.querySelector("#banner").hidden`)
	f.set(func() { f.key = "sesame" })
	b.send("Hello")
	b.until("the question for a key", `document.querySelector("#key").open`)
	b.text("wrong")
	b.key("Enter")
	b.until("the key refused", `document.querySelector("#key").open && document.querySelector("#key").textContent.includes("not accepted")`)
	b.text("sesame")
	b.key("Enter")
	b.until("the answer", `document.querySelector(".answer:last-child .md").textContent.includes("very happy") && !document.querySelector(".writing")`)
	f.Close()
	b.send("Are you there?")
	b.until("the banner", `document.querySelector("#banner").dataset.kind == "bad"`)
	if got := b.seen("#banner"); !strings.Contains(got[0], "outrider edge") {
		t.Errorf("the banner says %q", got)
	}
}
