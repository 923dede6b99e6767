// Markdown that arrives in pieces. Blocks are built line by line; what is finished is never touched
// again. A line that is still being written is shown on trial: each change it makes is journaled and
// undone before the next one. Work per piece therefore does not grow with the text before it.
import { h } from "./dom.js";
import { inline } from "./inline.js";
import { Pieces, paint, putText } from "./paint.js";
import { Table, cellsOf, isDelimiterRow } from "./table.js";
import { Code } from "./code.js";
import { ATX, FENCE, ITEM, RULE, SETEXT, UNCLEAR, columns } from "./syntax.js";

// A paragraph beyond this many characters goes on in a new segment, which is a line of its own.
export const SEGMENT = 3000;
// A line that is longer than this while it is written is no longer on trial.
const LONG = 2000;

export class Markdown {
  // labels: {copy, copied, code}; tokens: Tokens or null.
  constructor(root, { tokens = null, labels = {} } = {}) {
    this.root = root;
    this.tokens = tokens;
    this.labels = labels;
    this.length = 0; // of the text pushed
    this.rest = ""; // not consumed: an unfinished line
    this.base = 0; // its place in the source
    this.midline = false; // the rest continues a paragraph's line
    this.stack = [{ type: "root", el: root }];
    this.leaf = null;
    this.blank = false; // the last line was blank
    this.journal = null;
    this.dirty = new Set(); // paragraphs to paint
  }

  push(text) {
    this.rest += text;
    this.length += text.length;
  }

  // render brings the DOM up to date.
  render(pending = "") {
    this.pending?.remove();
    this.#undo();
    let at;
    while ((at = this.rest.indexOf("\n")) >= 0) {
      const line = this.rest.slice(0, at).replace(/\r$/, "");
      this.rest = this.rest.slice(at + 1);
      this.#complete(line);
      this.base += at + 1;
    }
    if (this.rest !== "") this.#trial();
    this.#paint(true);
    this.#pend(pending);
  }

  // finish says that no more text comes.
  finish() {
    this.#undo();
    if (this.rest !== "" && !this.rest.endsWith("\n")) this.push("\n");
    this.render();
    this.#closeTo(0);
    this.#paint(false);
  }

  #complete(line) {
    if (!this.midline) return this.#line(line);
    this.midline = false;
    if (line !== "") this.#more(line, this.base);
  }

  #trial() {
    if (this.midline) {
      this.#more(this.rest, this.base);
      this.base += this.rest.length;
      this.rest = "";
      return;
    }
    if (UNCLEAR.test(this.rest) && !(this.leaf instanceof Code && !/^\s*[`~>]*$/.test(this.rest))) return;
    this.journal = [];
    this.saved = { stack: [...this.stack], leaf: this.leaf, blank: this.blank };
    this.#line(this.rest, true);
    if (this.rest.length > LONG && this.leaf?.type === "p") {
      this.journal = null;
      this.midline = true;
      this.base += this.rest.length;
      this.rest = "";
    }
  }

  #undo() {
    if (!this.journal) return;
    for (const f of this.journal.reverse()) f();
    this.journal = null;
    Object.assign(this, this.saved);
  }

  #do(undo) { this.journal?.push(undo); }

  #append(parent, el) {
    parent.append(el);
    this.#do(() => el.remove());
    return el;
  }

  #top() { return this.stack.at(-1); }

  // ---- containers

  // closeTo closes all containers beyond the first n + 1, and the leaf.
  #closeTo(n) {
    this.#closeLeaf();
    this.stack.length = n + 1;
  }

  #closeLeaf() {
    if (this.leaf?.type === "p") this.#touch(this.leaf);
    this.leaf = null;
  }

  #open(type, el, more = {}) {
    this.#append(this.#top().el, el);
    this.stack.push({ type, el, ...more });
  }

  // match walks the open containers along a line and returns how many go on, and where their content is.
  #match(s) {
    let i = 0, n = 0;
    for (const c of this.stack.slice(1)) {
      if (c.type === "quote") {
        const m = /^ {0,3}> ?/.exec(s.slice(i));
        if (!m) break;
        i += m[0].length;
      } else if (c.type === "item") {
        const rest = s.slice(i);
        const indent = /^[ \t]*/.exec(rest)[0];
        if (rest.length === indent.length) { // blank
          i += Math.min(indent.length, c.indent);
        } else {
          let used = columns(indent, c.indent);
          // Models often indent an item below "1." by two columns only.
          if (used < 0 && columns(indent, c.at + 2) >= 0 && ITEM.test(rest.trimStart())) used = indent.length;
          if (used < 0) break;
          i += used;
        }
      }
      n++;
    }
    return [i, n];
  }

  // ---- lines

  #line(s, partial = false) {
    let [i, n] = this.#match(s);
    const all = n === this.stack.length - 1;
    if (this.leaf instanceof Code) {
      if (all) return this.#codeLine(s.slice(i), this.base + i, partial);
      this.#closeTo(n);
    }
    const started = this.#starts(s, i, n);
    if (started.done) return;
    i = started.i;
    const rest = s.slice(i);
    const text = rest.trimStart();
    if (text === "") return this.#blankLine(started.opened ? this.stack.length - 1 : n);
    const offset = this.base + i + rest.length - text.length;
    if (!started.opened) {
      if (this.leaf?.type === "p" && (all || !this.blank)) return this.#continue(text, offset, partial);
      if (this.leaf instanceof Table && all) return this.#row(text, offset);
      this.#closeTo(this.#keep(n));
    }
    this.#loosen();
    this.#paragraph(text, offset);
  }

  // keep: a list whose item does not go on ends with it.
  #keep(n) { return n > 0 && this.stack[n].type === "list" ? n - 1 : n; }

  // starts opens the containers and one-line blocks that begin at i.
  #starts(s, i, n) {
    let opened = false;
    const begin = () => { // a new block ends what does not go on
      if (!opened) this.#closeTo(this.#keep(n));
      opened = true;
      this.#loosen();
    };
    for (;;) {
      const rest = s.slice(i);
      let m;
      if ((m = /^ {0,3}> ?/.exec(rest))) {
        begin();
        this.#open("quote", h("blockquote"));
        i += m[0].length;
      } else if ((m = FENCE.exec(rest))) {
        begin();
        this.leaf = new Code(m[3], m[2], m[1].length, this.labels);
        this.#append(this.#top().el, this.leaf.el);
        return { done: true };
      } else if ((m = ATX.exec(rest))) {
        begin();
        this.#heading(m[1].length, rest.slice(m[0].length), this.base + i + m[0].length);
        return { done: true };
      } else if (this.leaf?.type === "p" && !opened && n === this.stack.length - 1 && (m = SETEXT.exec(rest)) && !this.blank) {
        this.#setext(m[1][0] === "=" ? 1 : 2);
        return { done: true };
      } else if (RULE.test(rest)) {
        begin();
        this.#append(this.#top().el, h("hr"));
        return { done: true };
      } else if ((m = ITEM.exec(rest)) && this.#mayBegin(m, rest, opened, n)) {
        i += this.#item(m, rest, opened ? this.stack.length - 1 : n, opened);
        opened = true;
      } else {
        return { i, opened };
      }
    }
  }

  // mayBegin: in the middle of a paragraph only an item that has text begins a list, and a number must be 1.
  #mayBegin(m, rest, opened, n) {
    if (opened || this.leaf?.type !== "p" || n < this.stack.length - 1) return true;
    return rest.length > m[0].length && (!/^\d/.test(m[2]) || parseInt(m[2], 10) === 1);
  }

  // item begins an item, in the list at n if it fits, and returns the length of the marker.
  #item(m, rest, n, opened) {
    const kind = /\d/.test(m[2]) ? m[2].slice(-1) : m[2];
    if (!opened) {
      this.#closeLeaf();
      const list = this.stack[n].type === "list" ? n : this.stack[n + 1]?.type === "list" ? n + 1 : -1;
      if (list > 0 && this.stack[list].kind === kind) {
        this.stack.length = list + 1;
        if (this.blank) this.#loose(this.stack[list]);
      } else {
        this.stack.length = this.#keep(n) + 1;
      }
    }
    if (this.#top().type !== "list") {
      this.#loosen();
      const number = parseInt(m[2], 10);
      this.#open("list", Number.isNaN(number) ? h("ul") : h("ol", number === 1 ? {} : { start: number }), { kind });
    }
    const text = rest.length > m[0].length;
    const width = m[1].length + m[2].length + (text ? m[3].replace("\t", " ").length : 1);
    this.#open("item", h("li"), { indent: width, at: m[1].length, list: this.#top() });
    this.blank = false;
    return m[0].length;
  }

  // loosen: a blank line between the blocks of an item makes its list loose.
  #loosen() {
    const top = this.#top();
    if (this.blank && top.type === "item" && top.el.childNodes.length) this.#loose(top.list);
    this.blank = false;
  }

  #loose(list) {
    if (list.el.classList.contains("loose")) return;
    list.el.classList.add("loose");
    this.#do(() => list.el.classList.remove("loose"));
  }

  #blankLine(n) {
    if (n < this.stack.length - 1 && this.stack[n + 1].type === "quote") this.#closeTo(n);
    else this.#closeLeaf();
    this.blank = true;
  }

  // ---- leaves

  #codeLine(s, offset, partial) {
    if (this.leaf.closes(s)) {
      if (!partial) this.leaf = null;
      return;
    }
    const undo = this.leaf.add(s, offset, this.tokens, partial);
    this.#do(undo);
  }

  #heading(level, text, offset) {
    const lead = text.length - text.trimStart().length;
    text = text.trim().replace(/(^|[ \t]+)#+$/, "");
    const el = this.#append(this.#top().el, h("h" + Math.min(6, level + 2)));
    const pieces = new Pieces();
    pieces.add(text, offset + lead);
    paint(el, inline(text, this.journal !== null), pieces, this.tokens);
  }

  #setext(level) {
    const { el, segments } = this.leaf;
    const heading = h("h" + Math.min(6, level + 2));
    for (const g of segments) paint(heading, inline(g.pieces.text.trimEnd()), g.pieces, this.tokens);
    el.replaceWith(heading);
    this.dirty.delete(this.leaf);
    this.leaf = null;
    this.#do(() => heading.replaceWith(el));
  }

  #paragraph(text, offset) {
    const el = this.#append(this.#top().el, h("p"));
    const p = { type: "p", el, segments: [], lines: 1, task: false };
    this.leaf = p;
    const m = this.#top().type === "item" && this.#top().el.firstChild === el && /^\[([ xX])\] +/.exec(text);
    if (m) {
      el.className = "task";
      el.append(h("span.box" + (m[1] === " " ? "" : ".done"), { role: "img", "aria-label": this.labels[m[1] === " " ? "open" : "done"] ?? m[1] }));
      text = text.slice(m[0].length);
      offset += m[0].length;
    }
    this.#segment(new Pieces());
    this.#more(text, offset);
  }

  #segment(pieces) {
    const p = this.leaf, seg = { pieces, el: h("span.seg"), done: false };
    p.segments.push(seg);
    p.el.append(seg.el);
    this.#do(() => { p.segments.pop(); seg.el.remove(); });
  }

  // more adds text to the open paragraph.
  #more(text, offset) {
    const p = this.leaf;
    let { pieces } = p.segments.at(-1);
    const mark = pieces.mark(), before = pieces;
    pieces.add(text, offset);
    this.#touch(p);
    this.#do(() => before.cut(mark));
    for (;;) {
      if (pieces.text.length <= SEGMENT) return;
      const gap = /\s/g;
      gap.lastIndex = SEGMENT;
      const m = gap.exec(pieces.text);
      if (!m || m.index + 1 >= pieces.text.length) return;
      const tail = pieces.split(m.index + 1), seg = p.segments.at(-1);
      this.#do(() => this.#join(seg, tail));
      this.#segment(tail);
      pieces = tail;
    }
  }

  // join undoes a split.
  #join(seg, tail) {
    tail.each(0, tail.text.length, (s, source) => seg.pieces.add(s, source));
    seg.done = false;
  }

  #continue(text, offset, partial) {
    const p = this.leaf;
    const only = p.lines === 1 && p.segments.length === 1 ? p.segments[0] : null;
    if (only && !partial && isDelimiterRow(text) && cellsOf(only.pieces.text).length === cellsOf(text).length) {
      const table = new Table(only.pieces, text, this.tokens);
      p.el.replaceWith(table.el);
      this.dirty.delete(p);
      this.leaf = table;
      return;
    }
    p.lines++;
    this.#do(() => p.lines--);
    this.#more("\n" + text, offset - 1);
  }

  #row(text, offset) {
    const row = this.leaf.row(text, offset, this.tokens);
    this.#do(() => row.remove());
  }

  #touch(p) {
    this.dirty.add(p);
    this.#do(() => this.dirty.add(p));
  }

  // paint draws what changed of paragraphs.
  #paint(open) {
    for (const p of this.dirty) {
      for (const [k, seg] of p.segments.entries()) {
        const last = k === p.segments.length - 1;
        if (seg.done && !last) continue;
        seg.el.replaceChildren();
        const { text } = seg.pieces;
        paint(seg.el, inline(text.trimEnd(), open && last && p === this.leaf), seg.pieces, this.tokens);
        seg.done = !last;
      }
      p.el.classList.toggle("maybe", open && p === this.leaf && p.segments[0].pieces.text.startsWith("|"));
    }
    this.dirty.clear();
  }

  // pend shows what the draft expects next, behind everything else.
  #pend(text) {
    if (!text) return;
    this.pending ??= h("span.pending", { "aria-hidden": "true" });
    this.pending.textContent = text;
    const into = this.leaf instanceof Code ? this.leaf.tail : this.leaf?.type === "p" ? this.leaf.segments.at(-1).el : this.root;
    into.append(this.pending);
  }
}
