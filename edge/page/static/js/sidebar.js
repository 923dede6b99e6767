// The list of conversations.
import { h, button } from "./dom.js";
import { t } from "./i18n.js";

const DAY = 86400000;

export class Sidebar {
  // on: {open(id), remove(id)}
  constructor(list, search, on) {
    Object.assign(this, { list, search, on });
    search.addEventListener("input", () => this.draw());
    list.addEventListener("keydown", (e) => this.#key(e));
    this.all = [];
    this.current = "";
    this.busy = new Set();
  }

  set(all, current, busy) {
    this.all = all;
    this.current = current;
    this.busy = busy;
    this.draw();
  }

  draw(now = Date.now()) {
    const words = this.search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const found = this.all.filter((c) => words.every((w) => (c.title || t("untitled")).toLowerCase().includes(w)));
    const midnight = new Date(now).setHours(0, 0, 0, 0);
    const out = [];
    let group = "";
    for (const c of found) {
      const g = c.updated >= midnight ? "today" : c.updated >= midnight - 6 * DAY ? "week" : "before";
      if (g !== group) out.push(h("li.group", { role: "presentation" }, t((group = g))));
      out.push(this.#row(c));
    }
    if (!found.length && words.length) out.push(h("li.group", {}, t("nothingFound")));
    this.list.replaceChildren(...out);
  }

  #row(c) {
    const title = c.title || t("untitled"), here = c.id === this.current;
    return h("li.conversation" + (here ? ".current" : "") + (this.busy.has(c.id) ? ".busy" : ""), {},
      h("button.open", { type: "button", title, "aria-current": here ? "true" : null, onclick: () => this.on.open(c.id) }, title),
      button("trash", `${t("delete")}: ${title}`, () => this.on.remove(c.id)));
  }

  #key(e) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[e.key];
    if (!step || !e.target.matches(".open")) return;
    const all = [...this.list.querySelectorAll(".open")];
    all[all.indexOf(e.target) + step]?.focus();
    e.preventDefault();
  }
}
