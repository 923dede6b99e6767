// As much of a DOM as the renderer needs, for tests outside a browser.
class Node {
  parentNode = null;
  remove() {
    if (!this.parentNode) return;
    const kids = this.parentNode.childNodes;
    kids.splice(kids.indexOf(this), 1);
    this.parentNode = null;
  }
  replaceWith(other) {
    const p = this.parentNode;
    other.remove();
    p.childNodes[p.childNodes.indexOf(this)] = other;
    other.parentNode = p;
    this.parentNode = null;
  }
}

class Text extends Node {
  constructor(data) { super(); this.data = data; }
  get textContent() { return this.data; }
  get html() { return escape(this.data); }
}

const escape = (s) => s.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
const VOID = new Set(["br", "hr"]);

class Element extends Node {
  childNodes = [];
  attributes = new Map();
  dataset = {};
  constructor(tag) { super(); this.tag = tag; }
  get className() { return this.attributes.get("class") ?? ""; }
  set className(v) { this.attributes.set("class", v); }
  get classList() {
    const list = () => this.className.split(" ").filter(Boolean);
    return {
      contains: (c) => list().includes(c),
      add: (c) => { if (!list().includes(c)) this.className = [...list(), c].join(" "); },
      remove: (c) => { this.className = list().filter((x) => x !== c).join(" "); },
      toggle: (c, on) => (on ? this.classList.add(c) : this.classList.remove(c)),
    };
  }
  get firstChild() { return this.childNodes[0] ?? null; }
  get lastChild() { return this.childNodes.at(-1) ?? null; }
  get textContent() { return this.childNodes.map((k) => k.textContent).join(""); }
  set textContent(v) { this.replaceChildren(v); }
  setAttribute(k, v) { this.attributes.set(k, String(v)); }
  addEventListener() {}
  append(...kids) {
    for (const k of kids) {
      const node = k instanceof Node ? k : new Text(String(k));
      node.remove();
      node.parentNode = this;
      this.childNodes.push(node);
    }
  }
  replaceChildren(...kids) {
    for (const k of [...this.childNodes]) k.remove();
    this.append(...kids);
  }
  get html() {
    const attrs = [...this.attributes].filter(([, v]) => v !== "").map(([k, v]) => ` ${k}="${v}"`).join("");
    if (VOID.has(this.tag)) return `<${this.tag}${attrs}>`;
    let inside = "", text = "";
    for (const k of this.childNodes) { // neighbours that are text count as one
      if (k instanceof Text) { text += k.data; continue; }
      inside += escape(text) + k.html;
      text = "";
    }
    return `<${this.tag}${attrs}>${inside}${escape(text)}</${this.tag}>`;
  }
}

globalThis.document = {
  createElement: (tag) => new Element(tag),
  createElementNS: (_, tag) => new Element(tag),
};
export const element = (tag) => new Element(tag);
