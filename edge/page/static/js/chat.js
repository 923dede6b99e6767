// The conversation as it is shown. Views read messages; while an answer is written its view appends
// what is new, once per frame.
import { h, button, icon } from "./dom.js";
import { t, number } from "./i18n.js";
import { Markdown } from "./markdown.js";
import { Tokens } from "./tokens.js";
import { figuresOf } from "./answer.js";

const labels = () => ({ copy: t("copy"), copied: t("copied"), code: t("code"), open: t("open"), done: t("done") });

// Chat shows one conversation. on: {edit, regenerate, version, retry, select, inspect}.
export class Chat {
  constructor(root, scroller, on) {
    Object.assign(this, { root, scroller, on });
    this.views = [];
    this.stuck = true; // the end stays in view
    this.frame = 0;
    scroller.addEventListener("scroll", () => {
      this.stuck = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 48;
      on.scrolled?.(this.stuck);
    }, { passive: true });
  }

  // show builds the path's views; answers maps message ids to answers that are being written.
  show(tree, path, answers) {
    this.tree = tree;
    this.views = path.map((m) => this.#view(m, answers.get(m.id)));
    this.root.replaceChildren(...this.views.map((v) => v.el));
    this.stuck = true;
    this.toEnd();
  }

  // append adds views at the end.
  append(m, answer) {
    const v = this.#view(m, answer);
    this.views.push(v);
    this.root.append(v.el);
    this.stuck = true;
    this.toEnd();
    return v;
  }

  // cutFrom drops the views from a message on.
  cutFrom(m) {
    const i = this.views.findIndex((v) => v.message.id === m.id);
    if (i >= 0) for (const v of this.views.splice(i)) v.el.remove();
  }

  #view(m, answer) {
    return m.role === "user" ? new UserView(m, this.tree, this.on) : new AnswerView(m, this.tree, this.on, answer);
  }

  find(id) { return this.views.find((v) => v.message.id === id); }

  // refresh draws what is new before the next frame; a hidden page has no frames.
  refresh() {
    if (this.frame) return;
    const draw = () => {
      this.frame = 0;
      for (const v of this.views) v.draw?.();
      if (this.stuck) this.toEnd();
    };
    this.frame = document.hidden ? setTimeout(draw, 250) : requestAnimationFrame(draw);
  }

  toEnd() { this.scroller.scrollTop = this.scroller.scrollHeight; }
}

// versions is the switch between versions of a message, null when there is one only.
function versions(m, tree, on) {
  const list = tree.versions(m), i = list.indexOf(m);
  if (list.length < 2) return null;
  const prev = button("left", t("earlier"), () => on.version(list[i - 1])), next = button("right", t("later"), () => on.version(list[i + 1]));
  prev.disabled = i === 0;
  next.disabled = i === list.length - 1;
  return h("span.versions", { role: "group", "aria-label": t("version", { n: i + 1, of: list.length }) },
    prev, h("span", { "aria-hidden": "true" }, `${i + 1}/${list.length}`), next);
}

function copyButton(text) {
  const b = button("copy", t("copy"), () => navigator.clipboard?.writeText(text()).then(() => {
    b.replaceChildren(icon("check"));
    setTimeout(() => b.replaceChildren(icon("copy")), 1500);
  }, () => {}));
  return b;
}

class UserView {
  constructor(m, tree, on) {
    this.message = m;
    this.el = h("article.message.user", { "data-id": m.id }, h("h2.vh", {}, t("you")), h("div.bubble", {}, m.content, m.image ? h("small.image-note", {}, t("withImage", { name: m.imageName ?? "" })) : null),
      h("div.actions", {}, versions(m, tree, on), copyButton(() => m.content), button("edit", t("edit"), () => on.edit(m))));
  }
}

class AnswerView {
  constructor(m, tree, on, answer) {
    Object.assign(this, { message: m, tree, on, answer });
    this.tokens = answer?.tokens ?? new Tokens(m.tokens);
    this.body = h("div.md");
    this.notes = h("div.notes");
    this.actions = h("div.actions");
    this.el = h("article.message.answer", { "data-id": m.id, "aria-busy": answer ? "true" : null }, h("h2.vh", {}, t("answer")), this.body, this.notes, this.actions);
    this.markdown = new Markdown(this.body, { tokens: this.tokens, labels: labels() });
    this.reasoned = 0;
    if (answer) this.el.classList.add("writing");
    this.draw();
  }

  get figures() { return this.answer ? this.answer.figures : this.tokens.length ? figuresOf(this.message, this.tokens) : null; }

  // draw appends what is new.
  draw() {
    if (this.finished) return;
    const m = this.message;
    if (m.reasoning && m.reasoning.length > this.reasoned) this.#reason(m.reasoning);
    if (m.content.length > this.markdown.length) {
      this.markdown.push(m.content.slice(this.markdown.length));
      this.el.classList.remove("waiting");
    }
    if (this.answer?.running) {
      this.markdown.render(this.answer.pending);
      this.el.classList.toggle("waiting", m.content === "" && !this.answer.pending && !m.reasoning);
      return;
    }
    this.finished = true;
    this.markdown.finish();
    this.el.classList.remove("writing", "waiting");
    this.el.removeAttribute("aria-busy");
    this.#end();
  }

  #reason(text) {
    if (!this.thought) {
      this.thought = h("div.thought");
      this.el.insertBefore(h("details.reasoning", {}, h("summary", {}, t("reasoning")), this.thought), this.body);
    }
    this.thought.append(text.slice(this.reasoned));
    this.reasoned = text.length;
  }

  // end shows what is to be said about a complete answer, and what can be done with it.
  #end() {
    const { message: m, on } = this, notes = [], f = this.figures;
    const note = (kind, text) => notes.push(h("p.note." + kind, {}, text));
    if (!m.done) note("warn", t("interrupted"));
    if (m.finish === "stopped") note("info", t("stoppedHere"));
    if (m.finish === "length") note("info", t("cutLength"));
    if (f?.unverified) note("warn", t("someUnverified", { n: number(f.unverified) }).replace("{n}", f.unverified));
    else if (f && f.exact === false) note("warn", t("inexact"));
    const r = f?.routing;
    if (r?.escalated_at) note("info", t("routed_taken", { n: r.escalated_at, k: (r.shown ?? 0) + (r.kept ?? 0), why: r.reason }));
    else if (r && r.where !== "cooperative") note("info", t(`routed_${r.where}`, { why: r.reason }));
    if (f?.resumes) note("info", t("resumed", { n: f.resumes }));
    if (m.error) notes.push(problem(m.error, () => on.retry(m)));
    this.notes.replaceChildren(...notes);
    const inspect = this.tokens.length ? button("tokens", t("inspect"), () => on.inspect(this), "icon-button inspect") : null;
    const figuresButton = f ? h("button.figures", { type: "button", title: t("livePanel"), onclick: () => on.select(this) },
      f.perToken ? `${number(f.perToken, 1)} ms` : "", h("span", {}, f.rate !== null ? ` · ${number(f.rate * 100, 0)} %` : "")) : null;
    this.actions.replaceChildren(...[versions(m, this.tree, on), copyButton(() => m.content), button("redo", t("regenerate"), () => on.regenerate(m)), on.speaks?.() && m.content ? button("sound", t("readAloud"), () => on.aloud(m), "icon-button aloud") : null,
      inspect, f?.perToken ? figuresButton : null].filter(Boolean));
  }
}

// explain says what an error of the API means, in the person's language.
export function explain(e) {
  if (e.code === "context_length_exceeded") return t("errContext");
  if (e.status === 0) return t("errNetwork");
  if (e.status === -1) return /cloud|unavailable/.test(e.message + e.code) ? t("err503") : t("errStream");
  const known = { 400: "err400", 401: "err401", 403: "err403", 404: "err404", 413: "err413", 422: "err400", 429: "err429", 503: "err503" };
  return t(known[e.status] ?? (e.status >= 500 ? "err500" : "err400"));
}

function problem(e, retry) {
  return h("div.problem", { role: "alert" }, h("p", {}, explain(e)), e.message ? h("p.detail", {}, e.message) : null,
    h("button.plain.retry", { type: "button", onclick: retry }, t("retry")));
}

// Welcome is what an empty conversation shows.
export function welcome(onpick) {
  const fates = ["accepted", "correction", "bonus", "run_ahead"];
  return h("div.welcome", {}, h("h2", {}, t("welcome")), h("p", {}, t("welcomeText")),
    h("ul.key", {}, ...fates.map((f) => h("li", {}, h("span.t." + f, {}, t(f)), h("small", {}, t("about_" + f))))),
    h("div.tries", {}, ...["try1", "try2", "try3", "try4"].map((k) => h("button.try", { type: "button", onclick: () => onpick(t(k)) }, t(k)))));
}
