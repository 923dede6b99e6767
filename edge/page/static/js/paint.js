// From inline nodes to DOM. Each piece of text knows its place in the source, so that every token can
// be shown by its fate whatever markup is around it.
import { h } from "./dom.js";
import { fateOf, isLate } from "./tokens.js";

// Pieces maps a paragraph's text to the source: lines lose their indentation and markers.
export class Pieces {
  constructor() {
    this.text = "";
    this.list = []; // [offset here, offset in the source]
  }

  add(s, source) {
    this.list.push([this.text.length, source]);
    this.text += s;
  }

  // cut undoes what was added since the mark.
  mark() { return [this.text.length, this.list.length]; }
  cut([length, count]) {
    this.text = this.text.slice(0, length);
    this.list.length = count;
  }

  // split keeps [0, at) and returns the rest.
  split(at) {
    const rest = new Pieces();
    let k = this.list.findLastIndex(([here]) => here <= at);
    rest.list = [[0, this.list[k][1] + at - this.list[k][0]], ...this.list.slice(k + 1).map(([here, src]) => [here - at, src])];
    rest.text = this.text.slice(at);
    this.text = this.text.slice(0, at);
    this.list.length = k + 1;
    return rest;
  }

  // each calls f with the parts of [a, b) that are contiguous in the source.
  each(a, b, f) {
    let k = this.list.findLastIndex(([here]) => here <= a);
    while (a < b) {
      const [here, source] = this.list[k];
      const end = Math.min(b, this.list[++k]?.[0] ?? b);
      f(this.text.slice(a, end), source + a - here);
      a = end;
    }
  }
}

// span is one token's text.
function span(text, i, code) {
  const el = document.createElement("span");
  el.className = "t " + fateOf(code) + (isLate(code) ? " late" : "");
  el.dataset.i = i;
  el.textContent = text;
  return el;
}

// putText appends text that begins at an offset of the source, cut at the borders of tokens.
export function putText(parent, text, offset, tokens) {
  if (!tokens || text === "") return void parent.append(text);
  const end = offset + text.length;
  let at = offset;
  for (let i = tokens.find(offset); at < end; i++) {
    if (i >= tokens.length) return void parent.append(text.slice(at - offset));
    const to = Math.min(end, tokens.ends[i]);
    if (to <= at) continue;
    const part = text.slice(at - offset, to - offset);
    parent.append(tokens.ids[i] < 0 || tokens.fates[i] === 0 ? part : span(part, i, tokens.fates[i]));
    at = to;
  }
}

// putLiteral appends text that stands for a range of the source, as its first token.
function putLiteral(parent, text, pieces, a, tokens) {
  if (!tokens) return void parent.append(text);
  pieces.each(a, a + 1, (_, source) => {
    const i = tokens.find(source);
    parent.append(i < tokens.length && tokens.ids[i] >= 0 && tokens.fates[i] ? span(text, i, tokens.fates[i]) : text);
  });
}

// paint appends inline nodes.
export function paint(parent, nodes, pieces, tokens) {
  for (const n of nodes) {
    switch (n.t) {
      case "text":
        pieces.each(n.a, n.b, (text, source) => putText(parent, text, source, tokens));
        break;
      case "lit":
        putLiteral(parent, n.s, pieces, n.a, tokens);
        break;
      case "br":
        parent.append(document.createElement("br"));
        break;
      case "code": case "math": {
        const el = h(n.t === "code" ? "code" : "code.math");
        pieces.each(n.a, n.b, (text, source) => putText(el, text.replaceAll("\n", " "), source, tokens));
        parent.append(el);
        break;
      }
      case "a": {
        const el = n.href ? h("a", { href: n.href, target: "_blank", rel: "noopener noreferrer nofollow" }) : h("span");
        if (n.image && n.href) el.append("🖼 ");
        paint(el, n.kids, pieces, tokens);
        parent.append(el);
        break;
      }
      default: {
        const el = document.createElement(n.t);
        paint(el, n.kids, pieces, tokens);
        parent.append(el);
      }
    }
  }
}
