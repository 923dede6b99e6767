// The message box, the buttons around the conversation, and the keyboard.
import { $, h, icon } from "./dom.js";
import { t, language } from "./i18n.js";

export class Composer {
  // on: {send(text), stop, editLast, cancelEdit}
  constructor(on) {
    this.on = on;
    this.box = $("#prompt");
    this.button = $("#send");
    this.draft = "";
    $("#composer").addEventListener("submit", (e) => { e.preventDefault(); this.#submit(); });
    this.box.addEventListener("input", () => this.#fit());
    this.box.addEventListener("keydown", (e) => this.#key(e));
    $("#edit-cancel").addEventListener("click", () => { on.cancelEdit(); this.edit(null); this.focus(); });
  }

  focus() { if (!matchMedia("(pointer: coarse)").matches) this.box.focus({ preventScroll: true }); }

  // insert adds text at the end.
  insert(text) {
    this.box.value = this.box.value ? `${this.box.value.trimEnd()} ${text}` : text;
    this.#fit();
    this.focus();
  }

  // busy: the button stops the answer instead of sending.
  busy(is) {
    this.is = is;
    const label = t(is ? "stop" : "send");
    this.button.replaceChildren(icon(is ? "stop" : "send"));
    this.button.setAttribute("aria-label", label);
    this.button.title = label;
    this.button.classList.toggle("stop", is);
    this.#fit();
  }

  // edit puts a message into the box; null ends that.
  edit(text) {
    const editing = text !== null;
    if (!editing && $("#editing").hidden) return;
    if (editing && $("#editing").hidden) this.draft = this.box.value;
    $("#editing").hidden = !editing;
    this.box.value = editing ? text : this.draft;
    this.#fit();
    if (editing) this.box.focus();
  }

  #submit() {
    if (this.is) return void this.on.stop();
    const text = this.box.value.replace(/^\n+|\s+$/g, "");
    if (!text) return;
    this.box.value = "";
    this.draft = "";
    this.#fit();
    this.on.send(text);
    this.focus();
  }

  #key(e) {
    if (e.isComposing || e.keyCode === 229) return; // an input method is at work
    if (e.key === "Enter" && !e.shiftKey && !e.ctrlKey && !e.metaKey && !e.altKey) {
      if (matchMedia("(pointer: coarse)").matches && innerWidth < 700) return; // a phone's Enter is a new line
      e.preventDefault();
      if (!this.is) this.#submit();
    } else if (e.key === "Enter" && (e.ctrlKey || e.metaKey)) {
      e.preventDefault();
      if (!this.is) this.#submit();
    } else if (e.key === "ArrowUp" && this.box.value === "" && !this.is) {
      e.preventDefault();
      this.on.editLast();
    } else if (e.key === "Escape" && !$("#editing").hidden) {
      e.stopPropagation();
      this.on.cancelEdit();
      this.edit(null);
    }
  }

  #fit() {
    this.box.style.height = "auto";
    this.box.style.height = `${Math.min(this.box.scrollHeight, innerHeight * 0.4)}px`;
    this.button.disabled = !this.is && this.box.value.trim() === "";
  }
}

// toggles wires the buttons of the page to the app.
export function toggles(app) {
  const root = document.documentElement;
  const drawer = (open) => {
    root.classList.toggle("sidebar-open", open);
    $("#sidebar-open").setAttribute("aria-expanded", open);
    if (open) $("#new").focus(); else $("#sidebar-open").focus();
  };
  $("#sidebar-open").addEventListener("click", () => drawer(!root.classList.contains("sidebar-open")));
  $("#sidebar-close").addEventListener("click", () => drawer(false));
  $("#new").addEventListener("click", () => { app.fresh(); app.composer.focus(); });
  $("#open-settings").addEventListener("click", () => app.dialog.open());
  $("#language").addEventListener("click", () => app.set("language", language() === "zh" ? "en" : "zh"));
  $("#show-tokens").addEventListener("click", () => app.set("tokens", !app.settings.tokens));
  $("#show-panel").addEventListener("click", () => app.set("panel", !app.settings.panel));
  $("#export").addEventListener("click", () => app.exportHere());
  $("#delete").addEventListener("click", () => app.remove([app.tree.conversation.id]));
  $("#to-end").addEventListener("click", () => { app.chat.stuck = true; app.chat.toEnd(); });
  $("#title").addEventListener("click", () => renaming(app));
  addEventListener("keydown", (e) => shortcuts(e, app, drawer));
}

function shortcuts(e, app, drawer) {
  const root = document.documentElement;
  if (e.defaultPrevented || document.querySelector("dialog[open]")) return;
  if (e.key === "Escape") {
    if (root.classList.contains("sidebar-open")) drawer(false);
    else app.stopHere();
  } else if (e.key === "/" && !/INPUT|TEXTAREA|SELECT/.test(e.target.tagName)) {
    e.preventDefault();
    $("#prompt").focus();
  } else if ((e.ctrlKey || e.metaKey) && e.shiftKey && e.key.toLowerCase() === "o") {
    e.preventDefault();
    app.fresh();
    $("#prompt").focus();
  }
}

function renaming(app) {
  const title = $("#title"), input = h("input.rename", { type: "text", value: app.tree.conversation.title, "aria-label": t("rename"), maxlength: 200 });
  let over = false;
  const end = (keep) => {
    if (over) return;
    over = true;
    input.replaceWith(title);
    if (keep && input.value.trim()) app.rename(input.value.trim());
    title.focus();
  };
  input.addEventListener("keydown", (e) => {
    if (e.isComposing) return;
    if (e.key === "Enter") end(true);
    if (e.key === "Escape") { e.stopPropagation(); end(false); }
  });
  input.addEventListener("blur", () => end(true));
  title.replaceWith(input);
  input.select();
}
