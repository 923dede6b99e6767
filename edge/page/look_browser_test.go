//go:build verify

package page

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/performance"
)

func TestPhone(t *testing.T) {
	f := newFake(t)
	b := newBrowser(t, f.URL, look{width: 390, height: 844, phone: true})
	fits := func(what string) {
		t.Helper()
		if w := eval[int](b, `document.documentElement.scrollWidth`); w > 390 {
			t.Errorf("%s: the page is %d wide on a screen of 390", what, w)
		}
		small := eval[[]string](b, `[...document.querySelectorAll("button, a, input, textarea")].filter(e => e.checkVisibility() && !e.closest(".md, .skip, .actions"))
			.filter(e => { const r = e.getBoundingClientRect(); return r.width > 1 && r.right > 0 && (r.width < 24 || r.height < 24 || r.left < 0 || r.right > 391); })
			.map(e => e.id || e.className || e.textContent)`)
		if len(small) > 0 {
			t.Errorf("%s: too small to touch, or outside: %q", what, small)
		}
	}
	fits("welcome")
	b.document("page-phone-welcome.png")
	b.click("#show-panel")
	b.do(`document.querySelector("#prompt").focus()`)
	b.text("sample")
	b.key("Enter") // a new line on a phone
	b.click("#send")
	b.until("the answer", `document.querySelector(".answer")`)
	b.answered()
	fits("an answer")
	b.document("page-phone.png")
	b.click("#sidebar-open")
	b.until("the list", `getComputedStyle(document.querySelector("#sidebar")).visibility == "visible"`)
	fits("the list")
	b.document("page-phone-list.png")
	b.key("Escape")
	b.until("the list to go", `getComputedStyle(document.querySelector("#sidebar")).visibility == "hidden"`)
	b.click("#show-panel")
	fits("figures")
	b.document("page-phone-figures.png")
}

func TestDarkAndChinese(t *testing.T) {
	f := newFake(t)
	b := newBrowser(t, f.URL, look{dark: true, language: "zh-CN"})
	b.want("html[lang=zh-CN] #new", "新对话")
	b.ask("潮汐是怎么来的？")
	b.want(".answer li", "满月与新月时是大潮", "上弦与下弦时是小潮")
	b.document("page-dark-zh.png")
	if text := eval[string](b, `document.querySelector(".sidebar").innerText + document.querySelector(".panel").innerText`); strings.Contains(text, "Settings") || !strings.Contains(text, "往返时延") {
		t.Errorf("not in Chinese: %s", text)
	}
	if bg := eval[string](b, `getComputedStyle(document.body).backgroundColor`); bg != "rgb(21, 23, 25)" {
		t.Errorf("the dark background is %s", bg)
	}
	b.click("#language")
	b.want("html[lang=en] #new", "New conversation")
	b.click("#open-settings")
	b.until("the settings", `document.querySelector("#settings").open`)
	b.document("page-settings.png")
	b.do(`const s = document.querySelector("#set-theme"); s.value = "light"; s.dispatchEvent(new Event("change"))`)
	if bg := eval[string](b, `getComputedStyle(document.body).backgroundColor`); bg != "rgb(250, 249, 247)" {
		t.Errorf("the light background is %s", bg)
	}
	b.do(`for (const [id, v] of [["mode", "only_in_cloud"], ["fallback", "draft"], ["maxTokens", "50"], ["seed", "7"]]) { const s = document.querySelector("#set-" + id); s.value = v; s.dispatchEvent(new Event("change")) }
		for (const [id, v] of [["depth", "8"], ["temperature", "0"]]) { const s = document.querySelector("#set-" + id); s.value = v; s.dispatchEvent(new Event("input")) }`)
	b.key("Escape")
	b.open(f.URL)
	b.want("html[lang=en][data-theme=light] #new", "New conversation")
	b.until("the link", `document.querySelector("#link").dataset.state == "fine"`)
	b.ask("with settings")
	all := f.bodies()
	got := fmt.Sprint(all[len(all)-1])
	for _, want := range []string{"temperature:0", "max_tokens:50", "seed:7", "depth:8", "mode:only_in_cloud", "fallback:draft"} {
		if !strings.Contains(got, want) {
			t.Errorf("the request lacks %s: %s", want, got)
		}
	}
	if strings.Contains(got, "acceptance:") {
		t.Errorf("the only rule that there is need not be asked for: %s", got)
	}
}

// focused names what has the keyboard.
func (b *browser) focused() string {
	return eval[string](b, `(e => e.id || e.getAttribute("aria-label") || e.textContent.trim() || e.tagName)(document.activeElement)`)
}

// tabTo presses Tab until something has the keyboard.
func (b *browser) tabTo(name string) {
	b.t.Helper()
	var seen []string
	for range 60 {
		b.key("Tab")
		at := b.focused()
		if at == name {
			return
		}
		seen = append(seen, at)
	}
	b.t.Fatalf("Tab does not reach %s: %q", name, seen)
}

func TestKeyboardOnly(t *testing.T) {
	f := newFake(t)
	b := newBrowser(t, f.URL, look{})
	if at := b.focused(); at != "prompt" {
		t.Errorf("the keyboard is at %s", at)
	}
	b.do(`window.frames60 = window.requestAnimationFrame; window.requestAnimationFrame = (f) => setTimeout(f, 500)`) // a page that draws seldom
	b.text("Tell me of Max")
	b.key("Enter")
	b.until("an answer", `document.querySelector(".answer .t")`)
	b.answered()
	b.do(`window.requestAnimationFrame = window.frames60`)
	b.until("the answer to be said", `document.querySelector("#say").textContent.includes("very happy")`)
	if at := eval[string](b, `document.querySelector("a[href], button, input, textarea").className`); at != "skip" {
		t.Errorf("the first stop of the page is %q, not the way to the message box", at)
	}
	b.tabTo("Step through the tokens")
	b.key("Enter")
	if got := b.seen(":focus.t"); len(got) != 1 || got[0] != "Once" {
		t.Errorf("stepping begins at %q", got)
	}
	b.key("ArrowRight", "ArrowRight")
	if got := b.seen("#tip .t"); len(got) != 1 || got[0] != "accepted" {
		t.Errorf("the details say %q", got)
	}
	if got := b.seen("#say"); !strings.Contains(got[0], "was: accepted. Guessed on this device") {
		t.Errorf("the screen reader hears %q", got)
	}
	b.key("End")
	if got := b.seen(":focus.t"); len(got) != 1 || !strings.Contains(got[0], "happy") {
		t.Errorf("End goes to %q", got)
	}
	b.key("Escape")
	if at := b.focused(); at != "Step through the tokens" {
		t.Errorf("Escape leads to %s", at)
	}
	b.do(`document.querySelector("#prompt").focus()`)
	b.key("ArrowUp")
	b.until("the last message in the box", `document.querySelector("#prompt").value == "Tell me of Max"`)
	b.key("Escape")
	b.until("the box empty again", `document.querySelector("#prompt").value == "" && document.querySelector("#editing").hidden`)
	b.do(`document.activeElement.blur()`)
	b.tabTo("open-settings")
	b.key("Enter")
	b.until("the settings", `document.querySelector("#settings").open && document.querySelector("#settings").contains(document.activeElement)`)
	b.key("Escape")
	b.until("the settings to close", `!document.querySelector("#settings").open`)
	if at := b.focused(); at != "open-settings" {
		t.Errorf("the keyboard is at %s after the settings", at)
	}
	// Nothing with the keyboard is invisible.
	b.do(`document.activeElement.blur()`)
	for range 30 {
		b.key("Tab")
		if !eval[bool](b, `document.activeElement == document.body || document.activeElement.checkVisibility({opacityProperty: true, visibilityProperty: true})`) {
			t.Errorf("%s has the keyboard and is invisible", b.focused())
		}
	}
}

// contrast returns texts whose contrast with what is behind them is below the limit of WCAG AA.
const contrast = `(() => {
	const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
	const rgba = (c) => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = c; canvas.fillRect(0, 0, 1, 1); const d = canvas.getImageData(0, 0, 1, 1).data; return [d[0], d[1], d[2], d[3] / 255]; };
	const over = (a, b) => [0, 1, 2].map((i) => a[i] * a[3] + b[i] * (1 - a[3])).concat(1);
	const light = (c) => { const [r, g, b] = c.map((v) => { v /= 255; return v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; }); return .2126 * r + .7152 * g + .0722 * b; };
	const behind = (e) => { const layers = []; for (; e; e = e.parentElement) layers.push(rgba(getComputedStyle(e).backgroundColor)); return layers.reverse().reduce((b, l) => over(l, b), [255, 255, 255, 1]); };
	const out = [];
	for (const e of document.querySelectorAll("body *")) {
		if (![...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()) || !e.checkVisibility({ visibilityProperty: true }) || e.closest(".vh, .skip, svg, .maybe, noscript, :disabled")) continue;
		const s = getComputedStyle(e), b = behind(e), c = over(rgba(s.color), b);
		const [x, y] = [light(c), light(b)].sort((p, q) => q - p), ratio = (x + .05) / (y + .05);
		const large = parseFloat(s.fontSize) >= 24 || parseFloat(s.fontSize) >= 18.66 && s.fontWeight >= 700;
		if (ratio < (large ? 3 : 4.5)) out.push(ratio.toFixed(2) + " " + (e.className || e.tagName) + ": " + e.textContent.slice(0, 30));
	}
	for (const name of ["accepted", "correction", "bonus", "run_ahead", "unverified"]) {
		const probe = document.createElement("i"); probe.style.color = "var(--" + name + ")"; document.body.append(probe);
		const b = behind(document.body), c = rgba(getComputedStyle(probe).color); probe.remove();
		const [x, y] = [light(c), light(b)].sort((p, q) => q - p);
		if ((x + .05) / (y + .05) < 3) out.push("mark " + name);
	}
	return out;
})()`

func TestAccessible(t *testing.T) {
	for _, dark := range []bool{false, true} {
		t.Run(fmt.Sprintf("dark=%v", dark), func(t *testing.T) {
			f := newFake(t)
			f.note = "the draft's plugin is restarting"
			b := newBrowser(t, f.URL, look{dark: dark, expect: []string{"Failed to load resource"}})
			check := func(what string) {
				t.Helper()
				for _, s := range eval[[]string](b, contrast) {
					t.Errorf("%s: contrast %s", what, s)
				}
				b.tree(what)
			}
			check("welcome")
			b.ask("sample")
			check("an answer")
			f.breakAt = 10
			b.ask("broken")
			f.set(func() { f.cloud = false })
			b.until("the banner", `document.querySelector("#banner").dataset.kind == "warn"`)
			check("errors")
			b.click("#open-settings")
			b.until("the settings", `document.querySelector("#settings").open`)
			check("settings")
		})
	}
}

// tree checks the accessibility tree: what can be used has a name, and the page its landmarks.
func (b *browser) tree(what string) {
	b.t.Helper()
	call(b, accessibility.Enable, cdp.Empty{})
	nodes := call(b, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{}).Nodes
	count := map[string]int{}
	value := func(v *accessibility.Value) string {
		if v == nil {
			return ""
		}
		return strings.Trim(string(v.Value), `"`)
	}
	for _, n := range nodes {
		if n.Ignored {
			continue
		}
		role, name := value(n.Role), strings.TrimSpace(value(n.Name))
		count[role]++
		switch role {
		case "button", "link", "textbox", "searchbox", "combobox", "slider", "spinbutton", "checkbox", "image", "dialog", "navigation", "complementary", "region", "heading", "article":
			if name == "" && role != "article" {
				b.t.Errorf("%s: a %s has no name: %v", what, role, n.BackendDOMNodeID)
			}
		}
	}
	if what == "settings" {
		if count["dialog"] != 1 || count["slider"] < 3 || count["combobox"] < 4 {
			b.t.Errorf("%s: %v", what, count)
		}
		return // the rest of the page is out of reach behind it
	}
	if count["main"] != 1 || count["navigation"] != 1 || count["complementary"] != 1 || count["heading"] < 2 || count["status"] < 1 {
		b.t.Errorf("%s: %v", what, count)
	}
	if what == "an answer" && (count["table"] != 1 || count["columnheader"] != 3 || count["article"] != 2 || count["blockquote"] != 1 || count["code"] < 2) {
		b.t.Errorf("%s: %v", what, count)
	}
}

// A long answer stays smooth while it is written and when it is opened again.
func TestTwentyThousandTokens(t *testing.T) {
	const tokens = 20000
	f := newFake(t)
	f.perChunk, f.pause = 10, 2*time.Millisecond
	b := newBrowser(t, f.URL, look{})
	call(b, performance.Enable, performance.EnableParams{})
	b.do(`window.frames_ = []; window.long_ = [];
		new PerformanceObserver((l) => l.getEntries().forEach((e) => long_.push([e.startTime, e.duration]))).observe({ type: "longtask" });
		let last = performance.now(); const tick = (now) => { frames_.push(now - last); last = now; requestAnimationFrame(tick); }; requestAnimationFrame(tick);`)
	busy := func() float64 {
		for _, m := range call(b, performance.GetMetrics, cdp.Empty{}).Metrics {
			if m.Name == "TaskDuration" {
				return m.Value
			}
		}
		return 0
	}
	began, work := time.Now(), busy()
	b.send(fmt.Sprint("long ", tokens))
	var marks []float64 // seconds of work of the page's thread for each fifth
	for k := 1; k <= 5; k++ {
		b.until(fmt.Sprint(k, " fifths"), fmt.Sprintf(`!document.querySelector(".writing") && document.querySelector(".answer") || document.querySelectorAll(".answer .t").length >= %d`, tokens/5*k*95/100))
		now := busy()
		marks, work = append(marks, now-work), now
	}
	b.answered()
	took := time.Since(began)
	report := func(what string) (p95, worst float64) {
		frames := eval[[]float64](b, `frames_.splice(0).sort((a, b) => a - b)`)
		long := eval[[][]float64](b, `long_.splice(0)`)
		for _, l := range long {
			worst = max(worst, l[1])
		}
		p95 = frames[len(frames)*95/100]
		t.Logf("%s: %d frames, median %.0f ms, p95 %.0f ms, worst %.0f ms; %d long tasks, the longest %.0f ms", what, len(frames),
			frames[len(frames)/2], p95, frames[len(frames)-1], len(long), worst)
		return p95, worst
	}
	p95, worst := report(fmt.Sprintf("%d tokens in %.1f s", tokens, took.Seconds()))
	t.Logf("work of the page's thread for each fifth: %.2f s", marks)
	// Bounds for a machine that does other work besides: what grows with the text would be far beyond.
	if marks[3]+marks[4] > 4*max(marks[0]+marks[1], .5) {
		t.Errorf("the cost of a token grows with the text before it: %.2f s", marks)
	}
	if p95 > 500 || worst > 3000 {
		t.Errorf("not smooth: p95 of frames %.0f ms, longest task %.0f ms", p95, worst)
	}
	if n := len(b.seen(".answer .t")); math.Abs(float64(n-tokens)) > tokens/20 {
		t.Errorf("%d tokens are shown", n)
	}
	b.do(`const s = document.querySelector("#scroll"); for (let i = 0; i < 40; i++) { s.scrollTop = s.scrollHeight * (i % 10) / 10; await new Promise(requestAnimationFrame); }`)
	if p95, _ = report("scrolling through it"); p95 > 750 {
		t.Errorf("scrolling is not smooth: %.0f ms", p95)
	}
	b.do(`document.querySelector("#prompt").focus()`)
	for range 20 {
		b.text("x")
	}
	report("typing below it")
	b.do(`document.querySelector("#prompt").value = ""`)
	b.do(`document.querySelector("#show-tokens").click(); await new Promise(requestAnimationFrame); document.querySelector("#show-tokens").click()`)
	report("tokens off and on")
	address := eval[string](b, "location.href")
	began = time.Now()
	b.open(address)
	b.until("the long answer again", fmt.Sprintf(`document.querySelectorAll(".answer .t").length > %d`, tokens*95/100))
	t.Logf("opened again in %.1f s", time.Since(began).Seconds())
}
