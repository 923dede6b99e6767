// The settings and the dialog that asks for an API key.
import { h, button } from "./dom.js";
import { t } from "./i18n.js";
import { key } from "./store.js";

// field is a labelled control with an optional line of help.
function field(id, label, control, help) {
  control.id = "set-" + id;
  if (help) control.setAttribute("aria-describedby", control.id + "-help");
  return h("div.field", {}, h("label", { for: control.id }, label), control, help ? h("p.help", { id: control.id + "-help" }, help) : null);
}

function select(value, options, onchange) {
  const el = h("select", { onchange: () => onchange(el.value) },
    ...options.map(([v, text]) => h("option", { value: v, selected: v === value }, text)));
  return el;
}

function numeric(value, props, onchange) {
  const el = h("input", { type: "number", inputmode: "decimal", value, ...props, onchange: () => {
    if (el.value === "") return void onchange(props.empty ?? "");
    const x = Math.max(props.min ?? -Infinity, Math.min(props.max ?? Infinity, Number(el.value)));
    el.value = x;
    onchange(x);
  } });
  return el;
}

// slider is a range with its value beside it.
function slider(value, props, onchange, text = String) {
  const out = h("output", {}, text(value));
  const el = h("input", { type: "range", ...props, value, oninput: () => {
    out.textContent = text(Number(el.value));
    onchange(Number(el.value));
  } });
  el.setAttribute("aria-valuetext", text(value));
  el.addEventListener("input", () => el.setAttribute("aria-valuetext", text(Number(el.value))));
  return [el, out];
}

function ranged(id, label, [el, out], help) {
  const f = field(id, label, el, help);
  f.classList.add("ranged");
  el.after(out);
  return f;
}

export class SettingsDialog {
  // app: {settings, set(name, value), models, status, store, exportAll, deleteAll}
  constructor(dialog, app) {
    this.dialog = dialog;
    this.app = app;
    dialog.addEventListener("click", (e) => { if (e.target === dialog) dialog.close(); });
  }

  open() {
    this.build();
    this.dialog.showModal();
  }

  build() {
    const { app } = this, s = app.settings, x = app.status?.supports ?? {};
    const set = (name) => (v) => app.set(name, v);
    const models = [["", t("modelDefault")], ...app.models.map((m) => [m.id, m.id])];
    if (s.model && !app.models.some((m) => m.id === s.model)) models.push([s.model, s.model]);
    const system = h("textarea", { rows: 3, oninput: () => app.set("system", system.value) });
    system.value = s.system;
    const some = (list) => list?.length > 1;
    const choose = (name, list, first = "") => field(name, t(name), select(s[name] || first, list.map((v) => [v, t(`${name}_${v}`)]), set(name)));
    const speculation = [
      some(x.modes) ? choose("mode", ["", ...x.modes]) : null,
      some(x.acceptance) ? choose("acceptance", ["", ...x.acceptance]) : null,
      x.max_depth > 0 ? ranged("depth", t("depth"), slider(s.depth, { min: 0, max: x.max_depth, step: 1 }, set("depth"), (v) => (v ? String(v) : t("depthAuto"))), t("depthHelp")) : null,
      some(x.fallback) ? choose("fallback", ["", ...x.fallback]) : null,
    ].filter(Boolean);
    const plain = (label, onclick, cls = "") => h("button.plain" + cls, { type: "button", onclick }, t(label));
    this.dialog.replaceChildren(h("form", { method: "dialog" },
      h("header", {}, h("h2", { id: "settings-title" }, t("settings")), button("close", t("close"), () => this.dialog.close())),
      h("fieldset", {}, h("legend", {}, t("generation")),
        field("model", t("model"), select(s.model, models, set("model"))),
        field("system", t("system"), system, t("systemHelp")),
        ranged("temperature", t("temperature"), slider(s.temperature, { min: 0, max: 2, step: 0.05 }, set("temperature")), t("temperatureHelp")),
        ranged("topP", t("topP"), slider(s.topP, { min: 0.05, max: 1, step: 0.05 }, set("topP"))),
        field("maxTokens", t("maxTokens"), numeric(s.maxTokens, { min: 1, max: 1000000, step: 1 }, set("maxTokens")), t("maxTokensHelp")),
        field("seed", t("seed"), numeric(s.seed, { min: 0, max: Number.MAX_SAFE_INTEGER, step: 1 }, set("seed")), t("seedHelp"))),
      speculation.length ? h("fieldset", {}, h("legend", {}, t("speculation")), ...speculation) : null,
      h("fieldset", {}, h("legend", {}, t("look")), choose("theme", ["", "light", "dark"]),
        field("language", t("language"), select(s.language, [["", t("language_")], ["en", "English"], ["zh", "中文"]], set("language")))),
      h("fieldset", {}, h("legend", {}, t("data")), h("p.help", {}, t(app.store.kept ? "dataText" : "noStore")),
        h("div.row", {}, plain("exportAll", app.exportAll), plain("deleteAll", () => { this.dialog.close(); app.deleteAll(); }, ".danger"),
          key.get() ? plain("forgetKey", () => { key.set(""); this.build(); }) : null))));
  }
}

// askKey asks for an API key and resolves to whether one was given.
export function askKey(dialog, wrong) {
  return new Promise((resolve) => {
    const input = h("input", { type: "password", id: "key-input", autocomplete: "off", required: true, "aria-describedby": "key-text" });
    const keep = h("input", { type: "checkbox", id: "key-keep" });
    const form = h("form", { method: "dialog", onsubmit: () => {
      key.set(input.value.trim(), keep.checked);
      dialog.returnValue = "given";
    } },
      h("header", {}, h("h2", { id: "key-title" }, t("keyTitle")), button("close", t("close"), () => dialog.close())),
      h("p", { id: "key-text" }, wrong ? t("keyWrong") + " " : "", t("keyText")),
      h("div.field", {}, h("label", { for: "key-input" }, t("key")), input),
      h("div.field.check", {}, keep, h("label", { for: "key-keep" }, t("keep"))),
      h("div.row.end", {}, h("button.primary", { type: "submit", value: "given" }, t("use"))));
    dialog.replaceChildren(form);
    dialog.returnValue = "";
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "given"), { once: true });
    if (!dialog.open) dialog.showModal();
    input.focus();
  });
}
