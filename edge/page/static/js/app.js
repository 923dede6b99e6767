// The page: wires conversations, answers, settings and figures together.
import { $, $$, icon } from "./dom.js";
import { Answer } from "./answer.js";
import { Chat, welcome } from "./chat.js";
import { Client, bodyOf } from "./client.js";
import { exportConversations } from "./export.js";
import { apply, language, t, use } from "./i18n.js";
import { Inspector } from "./inspect.js";
import { Link } from "./link.js";
import { Panel } from "./panel.js";
import { SettingsDialog, askKey } from "./settings.js";
import { Sidebar } from "./sidebar.js";
import { Tree, key, loadSettings, newID, open, saveSettings } from "./store.js";
import { Composer, toggles } from "./controls.js";
import { Senses } from "./senses.js";

const SAVE_EVERY = 3000; // ms, while an answer is written
const PANEL_EVERY = 200;

class App {
  settings = loadSettings();
  models = [];
  answers = new Map(); // message id -> Answer under way
  list = [];

  constructor() {
    use(this.settings.language);
    for (const el of $$("[data-icon]")) el.append(icon(el.dataset.icon));
    this.client = new Client(() => key.get());
    this.chat = new Chat($("#messages"), $("#scroll"), {
      edit: (m) => this.edit(m), regenerate: (m) => this.regenerate(m), retry: (m) => this.regenerate(m),
      version: (m) => this.version(m), select: (v) => this.select(v), inspect: (v) => this.inspector.enter(v, document.activeElement),
      speaks: () => this.status?.perception?.speaks, aloud: (m) => this.senses.aloud(m.content),
      scrolled: (stuck) => { $("#to-end").hidden = stuck; },
    });
    this.inspector = new Inspector($("#messages"), $("#tip"), (el) => this.chat.find(el.closest(".answer")?.dataset.id), (s) => this.say(s));
    this.panel = new Panel($("#panel"), { onclose: () => this.set("panel", false) });
    this.link = new Link(this.client, { text: $("#link-text"), dot: $("#link"), banner: $("#banner") }, {
      changed: (status, state) => this.linkChanged(status, state), unauthorized: () => this.authorize(false),
      fallback: (status) => this.settings.fallback || status?.fallback,
    });
    this.sidebar = new Sidebar($("#conversations"), $("#search"), { open: (id) => this.open(id), remove: (id) => this.remove([id]) });
    this.dialog = new SettingsDialog($("#settings"), this);
    this.composer = new Composer({ send: (text) => this.send(text), stop: () => this.stopHere(), editLast: () => this.editLast(),
      cancelEdit: () => { this.editing = null; } });
    toggles(this);
    this.senses = new Senses(this.client, { said: (text) => this.composer.insert(text), toast: (text) => this.toast(text) });
  }

  get status() { return this.link.status; }

  async begin() {
    this.words();
    this.look();
    this.store = await open();
    this.list = await this.store.list();
    this.fresh();
    const wanted = location.hash.slice(1);
    if (this.list.some((c) => c.id === wanted)) await this.open(wanted);
    addEventListener("hashchange", () => {
      const id = location.hash.slice(1);
      if (id !== this.tree.conversation.id && this.list.some((c) => c.id === id)) this.open(id);
    });
    addEventListener("pagehide", () => { for (const a of this.answers.values()) this.keep(a); });
    this.others = new BroadcastChannel("outrider"); // other tabs
    this.others.onmessage = async () => { this.list = await this.store.list(); this.drawList(); };
    this.link.look();
    this.composer.focus();
  }

  // ---- conversations

  // fresh shows an empty conversation; it is kept once something is said in it.
  fresh() {
    this.tree = new Tree({ id: newID(), title: "", created: Date.now(), updated: Date.now(), chosen: {} });
    history.replaceState(null, "", location.pathname);
    this.shown();
  }

  async open(id) {
    const conversation = this.list.find((c) => c.id === id);
    if (!conversation) return;
    const messages = await this.store.messages(id);
    const live = [...this.answers.values()].filter((a) => a.message.conversation === id).map((a) => a.message);
    this.tree = new Tree(conversation, [...messages.filter((m) => !live.some((l) => l.id === m.id)), ...live]);
    history.replaceState(null, "", `#${id}`);
    this.shown();
  }

  // shown draws the tree.
  shown() {
    const path = this.tree.path();
    this.editing = null;
    this.composer.edit(null);
    this.selected = null;
    if (path.length) this.chat.show(this.tree, path, this.answers);
    else {
      this.chat.show(this.tree, [], this.answers);
      $("#messages").replaceChildren(welcome((text) => this.send(text)));
    }
    this.drawHead();
    this.drawList();
    this.drawPanel();
    document.documentElement.classList.remove("sidebar-open");
  }

  drawHead() {
    const { title } = this.tree.conversation, some = this.tree.byID.size > 0;
    $("#title").textContent = some ? title || t("untitled") : "";
    $("#title").hidden = $("#export").hidden = $("#delete").hidden = !some;
    document.title = some && title ? `${title} · Outrider` : "Outrider";
    this.composer.busy(this.answerHere() !== undefined);
  }

  drawList() {
    this.sidebar.set(this.list, this.tree.conversation.id, new Set([...this.answers.values()].map((a) => a.message.conversation)));
  }

  async remove(ids) {
    for (const a of this.answers.values()) if (ids.includes(a.message.conversation)) a.stop.abort();
    const undo = await this.store.remove(...ids);
    this.list = await this.store.list();
    this.others.postMessage("");
    if (ids.includes(this.tree.conversation.id)) this.fresh(); else this.drawList();
    this.toast(ids.length > 1 ? t("deletedAll", { n: ids.length }) : t("deleted"), async () => {
      await undo();
      this.list = await this.store.list();
      this.others.postMessage("");
      await this.open(ids[0]);
    });
  }

  deleteAll = () => this.list.length && this.remove(this.list.map((c) => c.id));
  exportAll = async () => exportConversations(await Promise.all(this.list.map(async (c) => ({ conversation: c, messages: await this.store.messages(c.id) }))));
  exportHere = () => exportConversations([{ conversation: this.tree.conversation, messages: [...this.tree.byID.values()] }]);

  rename(title) {
    this.tree.conversation.title = title;
    this.touch();
    this.drawHead();
  }

  // touch keeps the conversation and the messages given.
  async touch(...messages) {
    const c = this.tree.conversation;
    c.updated = Date.now();
    if (!this.list.some((x) => x.id === c.id)) history.replaceState(null, "", `#${c.id}`);
    this.list = [c, ...this.list.filter((x) => x.id !== c.id)];
    this.drawList();
    await this.store.save(c, ...messages).catch((e) => this.toast(String(e.message ?? e)));
    this.others?.postMessage("");
  }

  // ---- messages

  message(role, parent, content) {
    return { id: newID(), conversation: this.tree.conversation.id, parent, role, content, created: Date.now() + this.tree.byID.size / 1e4, done: role === "user" };
  }

  send(text) {
    if (!text.trim() || this.answerHere()) return;
    const edited = this.editing;
    const parent = edited ? edited.parent : this.tree.path().at(-1)?.id ?? "";
    if (!this.tree.byID.size) {
      this.tree.conversation.title = text.trim().replace(/\s+/g, " ").slice(0, 80);
      $("#messages").replaceChildren();
    }
    const m = Object.assign(this.message("user", parent, text), this.senses.take() ?? (edited?.image ? { image: edited.image, imageName: edited.imageName } : {}));
    this.tree.add(m);
    this.tree.choose(m);
    if (edited) this.chat.cutFrom(edited);
    this.editing = null;
    this.composer.edit(null);
    this.chat.append(m);
    this.answer(m, [m]);
  }

  regenerate(m) {
    if (this.answerHere()) return;
    this.chat.cutFrom(m);
    this.answer(this.tree.byID.get(m.parent), []);
  }

  // answer asks for one to a message; others are kept with it.
  async answer(question, others) {
    const m = this.message("assistant", question.id, "");
    this.tree.add(m);
    this.tree.choose(m);
    let drawn = 0, saved = performance.now();
    const a = new Answer(m, () => {
      const now = performance.now();
      this.chat.refresh();
      if (now - drawn > PANEL_EVERY) {
        drawn = now;
        this.link.hear(a.progress);
        if (this.isHere(a)) this.drawPanel();
      }
      if (now - saved > SAVE_EVERY) {
        saved = now;
        this.keep(a);
      }
    });
    this.answers.set(m.id, a);
    this.selected = null;
    this.chat.append(m, a);
    this.touch(...others, m);
    this.drawHead();
    this.say(t("answering"));
    await a.run(this.client, bodyOf(this.tree.before(m), this.settings, this.status?.supports ?? {}));
    this.answers.delete(m.id);
    this.link.hear(null);
    await this.keep(a);
    this.ended(a);
  }

  ended(a) {
    const { message: m } = a, here = this.isHere(a);
    this.drawList();
    this.totals();
    if (here) {
      this.drawHead();
      this.drawPanel();
      const view = this.chat.find(m.id);
      view?.draw(); // the next frame may be far
      const text = view?.body.textContent ?? "";
      this.say(m.finish === "stopped" ? t("stopped") : m.error ? "" : `${t("answered")} ${text.length > 600 ? text.slice(0, 600) + " … " + t("readOn") : text}`);
    }
    if (m.error?.status === 401) this.authorize(key.get() !== "").then((given) => { if (given && here) this.regenerate(m); });
    if (m.error) this.link.look();
  }

  // totals fetches what all answers have taken; without them the panel goes as it is.
  totals() { this.client.stats().then((s) => this.panel.totals(s), () => {}); }

  keep(a) {
    a.keep();
    return this.store.save(null, a.message).catch((e) => this.toast(String(e.message ?? e)));
  }

  isHere(a) { return a.message.conversation === this.tree.conversation.id; }
  answerHere() { return [...this.answers.values()].find((a) => this.isHere(a)); }
  stopHere() { this.answerHere()?.stop.abort(); }

  edit(m) {
    if (this.answerHere()) return;
    this.editing = m;
    this.composer.edit(m.content);
  }

  editLast() {
    const m = this.tree.path().findLast((x) => x.role === "user");
    if (m) this.edit(m);
  }

  version(m) {
    if (this.answerHere()) return;
    this.tree.choose(m);
    this.store.save(this.tree.conversation);
    this.shown();
    this.chat.find(m.id)?.el.scrollIntoView({ block: "nearest" });
  }

  // ---- figures, settings, the link

  select(view) {
    this.selected = view;
    this.set("panel", true);
    this.drawPanel();
  }

  drawPanel() {
    const here = this.answerHere();
    const view = this.selected ?? this.chat.views.findLast((v) => v.figures);
    this.panel.show(here ? here.figures : view?.figures ?? null, this.status);
  }

  set(name, value) {
    this.settings[name] = value;
    saveSettings(this.settings);
    this.look();
    if (name === "language") {
      use(value);
      this.words();
      if ($("#settings").open) this.dialog.build();
    }
  }

  // look applies what settings say about appearance.
  look() {
    const { theme, tokens, panel } = this.settings, root = document.documentElement;
    if (theme) root.dataset.theme = theme; else delete root.dataset.theme;
    root.classList.toggle("tokens", tokens);
    root.classList.toggle("panel-open", panel);
    $("#show-tokens").setAttribute("aria-pressed", tokens);
    $("#show-panel").setAttribute("aria-pressed", panel);
  }

  // words puts everything into the present language.
  words() {
    apply();
    $("#language").textContent = language() === "zh" ? "English" : "中文";
    $("#language").lang = language() === "zh" ? "en" : "zh-CN";
    this.panel.build();
    this.composer.busy(this.tree ? this.answerHere() !== undefined : false);
    if (!this.tree) return;
    this.shown();
    this.link.draw();
  }

  linkChanged(status, state) {
    this.senses.set(status?.perception);
    if (!this.answerHere()) this.drawPanel();
    if (state === "fine" || state === "cloud") this.totals();
    if (state === "fine" && (!this.models.length || status.model !== this.known)) {
      this.known = status.model;
      this.client.models().then((m) => { this.models = m; }, () => {});
    }
  }

  async authorize(wrong) {
    const given = await askKey($("#key"), wrong);
    if (given) this.link.look();
    return given;
  }

  say(text) { $("#say").textContent = text; }

  toast(text, undo) {
    const el = $("#toast");
    clearTimeout(this.toasting);
    el.replaceChildren(text);
    if (undo) {
      const b = document.createElement("button");
      b.type = "button";
      b.textContent = t("undo");
      b.addEventListener("click", () => { el.hidden = true; undo(); });
      el.append(b);
    }
    el.hidden = false;
    this.toasting = setTimeout(() => { el.hidden = true; }, 8000);
  }
}

new App().begin();
