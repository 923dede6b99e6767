// The live panel: how an answer comes about.
import { h, button, icon } from "./dom.js";
import { t, number, bytes } from "./i18n.js";
import { Bars, Line, Parts } from "./chart.js";

const FATES = ["accepted", "correction", "bonus", "run_ahead", "unverified"];
const POSITIONS = 8;

export class Panel {
  constructor(root, { onclose }) {
    this.root = root;
    this.onclose = onclose;
    this.build();
  }

  // build makes the panel anew, in the present language.
  build() {
    this.bars = new Bars(POSITIONS);
    this.depth = new Line();
    this.speed = new Line();
    this.parts = new Parts(FATES);
    this.values = {};
    const value = (name) => (this.values[name] = h("dd", {}, "–"));
    const stat = (name, help) => h("div.stat", help ? { title: t(help) } : {}, h("dt", {}, t(name)), value(name));
    this.headline = h("strong.big", {}, "–");
    this.versus = h("span.versus");
    this.legend = FATES.map((f) => h("li." + f, { title: t("about_" + f) },
      h("span.swatch." + f, { "aria-hidden": "true" }, "abc"), h("span.name", {}, t(f)), h("span.count", {}, "0")));
    this.pendingRow = h("li.pending", { title: t("about_pending") }, h("span.swatch.pending", { "aria-hidden": "true" }, "abc"),
      h("span.name", {}, t("pending")), h("span.count", {}, ""));
    this.depthNow = h("span.now");
    this.speedNow = h("span.now");
    const section = (key, now, ...kids) => h("section", {}, h("h3", {}, t(key), now), ...kids);
    this.idle = h("p.idle", {}, t("panelIdle"));
    this.body = h("div.panel-body", {},
      h("div.headline", {}, this.headline, h("span.unit", {}, t("perToken")), this.versus),
      section("fates", null, this.parts.el, h("ul.legend", {}, ...this.legend, this.pendingRow)),
      section("byPosition", null, this.bars.el),
      section("speedTime", this.speedNow, this.speed.el),
      section("depthTime", this.depthNow, this.depth.el),
      h("dl.stats", {}, stat("meanLength", "meanLengthHelp"), stat("rate"), stat("passes", "passesHelp"), stat("rtt"),
        stat("up"), stat("down"), stat("first"), stat("tokens")),
      h("dl.models", {}, h("div", {}, h("dt", {}, t("target")), value("target")), h("div", {}, h("dt", {}, t("draft")), value("draft"))));
    const sum = (name, help) => h("div.stat", help ? { title: t(help) } : {}, h("dt", {}, t(name)), value(name));
    this.sums = h("section.totals", { hidden: true }, h("h3", {}, t("totals")), h("dl.stats", {}, sum("sumAnswers", "sumAnswersHelp"), sum("sumOwn", "sumOwnHelp"),
      sum("sumSaved", "sumSavedHelp"), sum("sumEnergy", "sumEnergyHelp")));
    this.root.replaceChildren(
      h("div.panel-head", {}, h("h2", {}, icon("chart"), t("livePanel")), button("close", t("close"), this.onclose)), this.idle, this.body, this.sums);
    this.show(null);
    if (this.last) this.totals(this.last);
  }

  // show brings the panel up to date; status tells the models while no answer does.
  show(f, status) {
    this.idle.hidden = f !== null;
    const put = (name, text) => { if (this.values[name].textContent !== text) this.values[name].textContent = text; };
    put("target", f?.target || status?.targets?.[0]?.name || t("none"));
    put("draft", f?.draft || status?.draft || t("none"));
    put("rtt", f?.rtt || status?.rtt_ms ? `${number(f?.rtt || status.rtt_ms)} ms` : "–");
    if (!f) {
      this.body.classList.add("empty");
      return;
    }
    this.body.classList.remove("empty");
    this.headline.textContent = f.perToken ? number(f.perToken, 1) : "–";
    const judges = f.alone > 0 && f.perToken > 0;
    this.versus.textContent = judges ? t("ofAlone", { x: number(f.alone / f.perToken, 1) }) : "";
    this.versus.title = judges ? t("aloneIs", { ms: number(f.alone, 1) }) : "";
    this.#fates(f);
    this.#charts(f);
    put("meanLength", f.meanLength ? number(f.meanLength) : "–");
    put("rate", f.rate === null ? "–" : `${number(f.rate * 100, 0)} %`);
    put("passes", f.passes ? number(f.passes) : "–");
    const link = (n) => (n === undefined ? "–" : f.count ? t("perTokenBytes", { b: bytes(n / f.count) }) : bytes(n));
    put("up", link(f.up));
    put("down", link(f.down));
    this.values.up.title = f.up === undefined ? "" : bytes(f.up);
    this.values.down.title = f.down === undefined ? "" : bytes(f.down);
    put("first", f.first === undefined ? "–" : `${number(f.first, 0)} ms`);
    put("tokens", number(f.count, 0));
  }

  // totals shows what all answers of this edge together have taken.
  totals(s) {
    this.last = s;
    this.sums.hidden = !s.answers;
    const put = (name, text) => { this.values[name].textContent = text; };
    put("sumAnswers", `${number(s.answers, 0)} · ${number(s.escalated, 0)}`);
    put("sumOwn", s.tokens ? `${number((100 * s.origins.device) / s.tokens, 0)} % · ${number((100 * s.origins.accepted) / s.tokens, 0)} %` : "–");
    put("sumSaved", s.priced ? `${number(s.cost_saved, 2)} / ${number(s.cost_cloud_only, 2)}` : "–");
    put("sumEnergy", s.device_joules_known ? `${number(s.device_joules, 0)} J` : "–");
  }

  #fates(f) {
    const counts = f.counts.slice(1, 6), all = counts.reduce((a, b) => a + b, 0);
    counts.forEach((n, i) => {
      this.legend[i].lastChild.textContent = all ? `${number(n, 0)} · ${number((100 * n) / all, 0)} %` : "0";
      this.legend[i].hidden = FATES[i] === "unverified" && n === 0;
    });
    this.pendingRow.hidden = !f.running;
    this.pendingRow.lastChild.textContent = f.running ? String(f.depth) : "";
    this.parts.set(counts, FATES.map((name, i) => `${t(name)} ${counts[i]}`).join(", "));
  }

  #charts(f) {
    const shares = f.reached.slice(0, POSITIONS).map((n, i) => (n ? f.held[i] / n : null));
    const list = shares.map((x, i) => (x === null ? "" : `${i + 1}: ${number(x * 100, 0)} %`)).filter(Boolean).join(", ");
    this.bars.set(shares, t("byPositionLabel", { list: list || t("noData") }));
    const deepest = Math.max(0, ...f.samples.map((p) => p.depth));
    this.depth.set(f.samples.map((p) => [p.at, p.depth]), t("depthLabel", { now: f.depth, max: deepest }), 0, true);
    this.depthNow.textContent = f.samples.length ? number(f.depth, 0) : "";
    const speed = speeds(f.samples);
    const now = speed.at(-1)?.[1] ?? 0;
    this.speed.set(speed, t("speedLabel", { now: number(now, 0), alone: number(f.alone, 0) }), f.alone);
    this.speedNow.textContent = now ? `${number(now, 0)} ms` : "";
  }
}

// speeds turns samples into ms per token, each over the last dozen tokens or so.
export function speeds(samples) {
  const out = [];
  for (let i = 1, from = 0; i < samples.length; i++) {
    while (samples[i].tokens - samples[from + 1]?.tokens >= 12) from++;
    const n = samples[i].tokens - samples[from].tokens;
    if (n >= 4) out.push([samples[i].at, (samples[i].at - samples[from].at) / n]);
  }
  return out;
}
