// A table that grows row by row.
import { h } from "./dom.js";
import { inline } from "./inline.js";
import { Pieces, paint } from "./paint.js";

export const isDelimiterRow = (s) => s.includes("-") && /^\|?[ \t]*:?-+:?[ \t]*(\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$/.test(s) && /[|:]/.test(s);

// cellsOf returns the ranges of a row's cells.
export function cellsOf(s) {
  const out = [];
  let a = s.startsWith("|") ? 1 : 0, ticks = false;
  for (let i = a; i <= s.length; i++) {
    if (s[i] === "\\") i++;
    else if (s[i] === "`") ticks = !ticks && s.indexOf("`", i + 1) > 0;
    else if ((s[i] === "|" && !ticks) || i === s.length) {
      if (i < s.length || s.slice(a).trim() !== "") out.push([a, i]);
      a = i + 1;
    }
  }
  return out;
}

export class Table {
  type = "table";

  constructor(header, delimiters, tokens) {
    this.align = cellsOf(delimiters).map(([a, b]) => {
      const d = delimiters.slice(a, b).trim();
      return d.endsWith(":") ? (d.startsWith(":") ? "center" : "right") : "";
    });
    this.body = h("tbody");
    const head = h("thead");
    this.el = h("div.table", { tabindex: "0" }, h("table", {}, head, this.body));
    let source = 0;
    header.each(0, 1, (_, at) => { source = at; });
    head.append(this.#cells("th", header.text, source, tokens));
  }

  #cells(tag, s, offset, tokens) {
    const tr = h("tr"), cells = cellsOf(s);
    for (let k = 0; k < this.align.length; k++) {
      const cell = h(this.align[k] ? `${tag}.${this.align[k]}` : tag, tag === "th" ? { scope: "col" } : {});
      if (cells[k]) {
        const raw = s.slice(...cells[k]), text = raw.trim(), pieces = new Pieces();
        pieces.add(text, offset + cells[k][0] + raw.indexOf(text));
        paint(cell, inline(text), pieces, tokens);
      }
      tr.append(cell);
    }
    return tr;
  }

  // row appends a row and returns it.
  row(s, offset, tokens) {
    const tr = this.#cells("td", s, offset, tokens);
    this.body.append(tr);
    return tr;
  }
}
