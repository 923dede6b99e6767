// A code block that grows line by line.
import { h, button } from "./dom.js";
import { putText } from "./paint.js";

const CHUNK = 40; // lines that are laid out together

export class Code {
  type = "code";

  constructor(language, fence, indent, labels) {
    this.fence = fence;
    this.indent = indent;
    this.lines = 0;
    this.code = h("code");
    const name = language || labels.code || "code";
    const copy = button("copy", labels.copy ?? "Copy", () => this.#copied(copy, labels));
    this.el = h("figure.code", {}, h("figcaption", {}, h("span.lang", {}, name), copy),
      h("pre", { tabindex: "0", role: "region", "aria-label": name }, this.code));
  }

  #copied(copy, labels) {
    const text = [...this.code.childNodes].map((chunk) => chunk.textContent).join("");
    navigator.clipboard?.writeText(text.replace(/\n$/, "")).then(() => {
      copy.classList.add("done");
      copy.setAttribute("aria-label", labels.copied ?? "Copied");
      setTimeout(() => {
        copy.classList.remove("done");
        copy.setAttribute("aria-label", labels.copy ?? "Copy");
      }, 1500);
    }, () => {});
  }

  // tail is where text goes on.
  get tail() { return this.code.lastChild ?? this.code; }

  closes(s) {
    const m = /^ {0,3}(`+|~+)[ \t]*$/.exec(s);
    return m !== null && m[1][0] === this.fence[0] && m[1].length >= this.fence.length;
  }

  // add appends a line and returns how to undo it.
  add(s, offset, tokens, partial) {
    const cut = Math.min(this.indent, s.length - s.trimStart().length);
    const fresh = this.lines % CHUNK === 0;
    if (fresh) this.code.append(h("span.chunk"));
    const chunk = this.code.lastChild, before = chunk.childNodes.length;
    putText(chunk, partial ? s.slice(cut) : s.slice(cut) + "\n", offset + cut, tokens);
    this.lines++;
    return () => {
      this.lines--;
      while (chunk.childNodes.length > before) chunk.lastChild.remove();
      if (fresh) chunk.remove();
    };
  }
}
