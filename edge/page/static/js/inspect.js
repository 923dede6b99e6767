// Details of a token: under the pointer, or with the arrow keys.
import { h, $$ } from "./dom.js";
import { t, number } from "./i18n.js";
import { fateOf, isLate } from "./tokens.js";

export class Inspector {
  // find returns the view of an element in an answer; say speaks to screen readers.
  constructor(root, tip, find, say) {
    Object.assign(this, { root, tip, find, say });
    root.addEventListener("pointerover", (e) => this.#over(e.target));
    root.addEventListener("pointerleave", () => this.hide());
    root.addEventListener("pointerdown", (e) => { if (e.pointerType === "touch") this.#over(e.target); });
    root.addEventListener("keydown", (e) => this.#key(e));
    root.addEventListener("focusout", (e) => { if (e.target.classList?.contains("t")) this.#leave(e.target); });
  }

  #over(el) {
    if (!el.classList?.contains("t") || !el.dataset.i || !document.documentElement.classList.contains("tokens")) return this.hide();
    this.#show(el);
  }

  hide() {
    this.at?.classList.remove("at");
    this.at = null;
    this.tip.hidden = true;
  }

  #show(el) {
    const view = this.find(el);
    if (!view) return this.hide();
    const i = Number(el.dataset.i), { tokens } = view, code = tokens.fates[i], fate = fateOf(code);
    this.at?.classList.remove("at");
    this.at = el;
    el.classList.add("at");
    const text = JSON.stringify(view.message.content.slice(tokens.start(i), tokens.ends[i])).slice(1, -1);
    const gap = i > 0 ? tokens.at[i] - tokens.at[i - 1] : tokens.at[i];
    const when = i === 0 ? t("tokenTime", { ms: number(tokens.at[0], 0) }) : gap < 1 ? t("sameStep") : t("sinceLast", { ms: number(gap, 0) });
    const about = isLate(code) ? t("about_late") : t("about_" + fate);
    this.tip.replaceChildren(h("div.tip-head", {}, h("span.t." + fate, {}, t(fate)), h("code", {}, text)),
      h("p", {}, about), h("p.small", {}, `${t("tokenAt", { i: number(i + 1, 0), id: tokens.ids[i] })} · ${when}`));
    this.tip.hidden = false;
    this.#place(el);
    return `${text}: ${t(fate)}. ${about}`;
  }

  #place(el) {
    const r = el.getClientRects()[0] ?? el.getBoundingClientRect(), box = this.tip.getBoundingClientRect();
    const left = Math.max(8, Math.min(r.left + r.width / 2 - box.width / 2, innerWidth - box.width - 8));
    const above = r.top - box.height - 8;
    this.tip.style.left = `${left}px`;
    this.tip.style.top = `${above > 8 ? above : r.bottom + 8}px`;
  }

  // enter begins to step through an answer's tokens.
  enter(view, from) {
    const first = view.body.querySelector(".t");
    if (!first) return;
    this.from = from;
    this.say(t("inspectHelp"));
    this.#focus(first);
  }

  #focus(el) {
    el.tabIndex = -1;
    el.focus({ preventScroll: true });
    el.scrollIntoView({ block: "nearest" });
    const text = this.#show(el);
    if (text) this.say(text);
  }

  #leave(el) {
    el.removeAttribute("tabindex");
    this.hide();
  }

  #key(e) {
    if (!e.target.classList?.contains("t")) return;
    const all = $$(".t", this.find(e.target).body), i = all.indexOf(e.target);
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: 10, ArrowUp: -10, Home: -i, End: all.length - 1 - i }[e.key];
    if (e.key === "Escape") {
      e.stopPropagation();
      this.from?.focus();
    } else if (step !== undefined) {
      this.#focus(all[Math.max(0, Math.min(all.length - 1, i + step))]);
    } else {
      return;
    }
    e.preventDefault();
  }
}
