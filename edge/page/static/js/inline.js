// Inline markdown: from a paragraph's text to a tree of nodes. No DOM here; no markup ever passes
// through, since text only becomes text.
//
// A node is {t: "text", a, b} (a range of the source), {t: "lit", s, a, b} (text that stands for a
// range), {t: "code" | "math", a, b}, {t: "br"}, or {t: "em" | "strong" | "del" | "a", kids, href?}.

const SCHEMES = new Set(["http:", "https:", "mailto:", "tel:"]);

// safeURL returns the address if a click on it can do no harm, else "".
export function safeURL(href) {
  const s = href.trim();
  if (!/^[a-z][a-z0-9+.-]*:/i.test(s)) return "";
  try {
    return SCHEMES.has(new URL(s).protocol) ? s : "";
  } catch {
    return "";
  }
}

const ENTITIES = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'", nbsp: "\u00a0", copy: "©", reg: "®", trade: "™", hellip: "…",
  mdash: "—", ndash: "–", lsquo: "‘", rsquo: "’", ldquo: "“", rdquo: "”", times: "×", divide: "÷", deg: "°", plusmn: "±",
  larr: "←", rarr: "→", uarr: "↑", darr: "↓", le: "≤", ge: "≥", ne: "≠", asymp: "≈", infin: "∞", bull: "•", middot: "·",
  euro: "€", pound: "£", yen: "¥", sect: "§", para: "¶", frac12: "½", check: "✓" };

function entity(body) {
  if (body[0] !== "#") return ENTITIES[body];
  const code = /^#x/i.test(body) ? parseInt(body.slice(2), 16) : parseInt(body.slice(1), 10);
  if (!(code > 0 && code <= 0x10ffff) || (code >= 0xd800 && code < 0xe000)) return "\ufffd";
  return String.fromCodePoint(code);
}

const PUNCTUATION = /[\p{P}\p{S}]/u;
const SPACE = /\s/;
// Han, kana and hangul need no space around emphasis; CommonMark's rules would leave ** standing there.
const CJK = /[\u3000-\u303f\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef]/;

class Inline {
  constructor(s, open) {
    this.s = s;
    this.open = open; // more text may follow: markup that is begun counts as ended at the end
    this.nodes = [];
    this.brackets = []; // indexes of nodes that may begin a link
    this.from = 0; // where plain text began
    this.i = 0;
    this.noTicks = new Set(); // lengths of backtick runs that are known to have no end
  }

  text(to) {
    if (to > this.from) this.nodes.push({ t: "text", a: this.from, b: to });
  }

  // emit ends plain text at i, adds a node and goes on behind it.
  emit(node, next) {
    this.text(this.i);
    this.nodes.push(node);
    this.i = this.from = next;
  }

  run() {
    const special = /[\\`*_~[\]!<&\n$]|https?:\/\/|www\./g;
    const { s } = this;
    while (this.i < s.length) {
      special.lastIndex = this.i;
      const m = special.exec(s);
      if (!m) break;
      this.i = m.index;
      if (!this.special(m[0])) this.i++;
    }
    this.text(s.length);
    return resolve(this.nodes, 0, this.open);
  }

  // special handles what begins at i; false: it is plain text.
  special(c) {
    switch (c) {
      case "\\": return this.escape();
      case "`": return this.code();
      case "*": case "_": case "~": return this.delimiter(c);
      case "[": return this.bracket(1, false);
      case "!": return this.s[this.i + 1] === "[" && this.bracket(2, true);
      case "]": return this.link();
      case "<": return this.angle();
      case "&": return this.entity();
      case "\n": return this.newline();
      case "$": return this.s[this.i + 1] === "$" && this.math("$$", 2);
      default: return this.bare();
    }
  }

  escape() {
    const { s, i } = this, next = s[i + 1];
    if (next === "(" && this.math("\\)", 2)) return true;
    if (next === "[" && this.math("\\]", 2)) return true;
    if (next === "\n") return this.emit({ t: "br" }, i + 2), true;
    if (!next || !/[!-/:-@[-`{-~]/.test(next)) return false;
    this.emit({ t: "lit", s: next, a: i + 1, b: i + 2 }, i + 2);
    return true;
  }

  math(end, skip) {
    const at = this.s.indexOf(end, this.i + skip);
    if (at < 0) return false;
    this.emit({ t: "math", a: this.i + skip, b: at }, at + end.length);
    return true;
  }

  code() {
    const { s, i } = this;
    let n = 1;
    while (s[i + n] === "`") n++;
    if (!this.noTicks.has(n)) {
      const ticks = /`+/g;
      ticks.lastIndex = i + n;
      for (let m; (m = ticks.exec(s));) {
        if (m[0].length === n) return this.codeSpan(i + n, m.index, m.index + n), true;
      }
      if (this.open && n === 1 && i + n < s.length) return this.codeSpan(i + n, s.length, s.length), true;
      this.noTicks.add(n);
    }
    this.emit({ t: "text", a: i, b: i + n }, i + n);
    return true;
  }

  codeSpan(a, b, next) {
    const { s } = this;
    if (b - a > 2 && s[a] === " " && s[b - 1] === " " && s.slice(a, b).trim()) a++, b--;
    this.emit({ t: "code", a, b }, next);
  }

  delimiter(c) {
    const { s, i } = this;
    let n = 1;
    while (s[i + n] === c) n++;
    if (c === "~" && n !== 2) return this.emit({ t: "text", a: i, b: i + n }, i + n), true;
    const before = i > 0 ? s[i - 1] : " ", after = s[i + n] ?? " ";
    const [sb, sa] = [SPACE.test(before), SPACE.test(after)];
    const [pb, pa] = [PUNCTUATION.test(before), PUNCTUATION.test(after)];
    const left = !sa && (!pa || sb || pb || CJK.test(before)), right = !sb && (!pb || sa || pa || CJK.test(after));
    const word = c === "_";
    this.emit({ t: "delim", c, n, was: n, a: i, opens: [], closes: [],
      canOpen: left && (!word || !right || pb), canClose: right && (!word || !left || pa) }, i + n);
    return true;
  }

  bracket(n, image) {
    const { i } = this;
    this.emit({ t: "text", a: i, b: i + n, image }, i + n);
    this.brackets.push(this.nodes.length - 1);
    return true;
  }

  link() {
    const at = this.brackets.pop();
    if (at === undefined) return false;
    const m = destination(this.s, this.i + 1, this.open);
    if (!m) return false;
    const href = m.href === null ? "" : safeURL(m.href);
    const image = this.nodes[at].image;
    this.text(this.i);
    const kids = resolve(this.nodes.splice(at), 1, false);
    this.nodes.push({ t: "a", href, kids, image });
    this.i = this.from = m.end;
    if (!image) this.brackets = []; // no links in links
    return true;
  }

  angle() {
    const { s, i } = this, rest = s.slice(i, i + 2048);
    const br = /^<br\s*\/?>/i.exec(rest);
    if (br) return this.emit({ t: "br" }, i + br[0].length), true;
    const m = /^<([a-z][a-z0-9+.-]{1,31}:[^\s<>]*|[\w.+-]+@[\w-]+(\.[\w-]+)+)>/i.exec(rest);
    if (!m) return false;
    const href = safeURL(m[1].includes(":") ? m[1] : "mailto:" + m[1]);
    this.emit({ t: "a", href, kids: [{ t: "text", a: i + 1, b: i + 1 + m[1].length }] }, i + m[0].length);
    return true;
  }

  entity() {
    const m = /^&(#x[0-9a-f]{1,6}|#\d{1,7}|[a-z][a-z0-9]{1,31});/i.exec(this.s.slice(this.i, this.i + 40));
    const is = m && entity(m[1]);
    if (!is) return false;
    this.emit({ t: "lit", s: is, a: this.i, b: this.i + m[0].length }, this.i + m[0].length);
    return true;
  }

  newline() {
    const { s, i } = this;
    let a = i;
    while (a > this.from && s[a - 1] === " ") a--;
    this.text(a);
    this.nodes.push(i - a >= 2 ? { t: "br" } : { t: "lit", s: "\n", a: i, b: i + 1 });
    this.i = this.from = i + 1;
    return true;
  }

  // bare finds addresses in running text, without the punctuation that ends a sentence.
  bare() {
    const { s, i } = this;
    if (i > 0 && /[\w/.:@-]/.test(s[i - 1])) return false;
    let url = /^(https?:\/\/|www\.)[^\s<>"'`*]*/.exec(s.slice(i, i + 2048))[0];
    url = /^[\x21-\x7e]*/.exec(url)[0]; // text in another script goes on without a space
    for (let was = ""; was !== url;) {
      was = url;
      url = url.replace(/[.,;:!?_~\]]+$/, "");
      while (url.endsWith(")") && url.split(")").length > url.split("(").length) url = url.slice(0, -1);
    }
    if (url.length < 8) return false;
    const href = safeURL(url.startsWith("www.") ? "https://" + url : url);
    this.emit({ t: "a", href, kids: [{ t: "text", a: i, b: i + url.length }] }, i + url.length);
    return true;
  }
}

// destination reads "(address 'title')" at i. href null: it is still being written.
function destination(s, i, open) {
  if (s[i] !== "(") return null;
  const rest = s.slice(i, i + 4096);
  const m = /^\(\s*(?:<([^<>\n]*)>|((?:[^\s()\\]|\\.|\((?:[^\s()\\]|\\.)*\))*))(?:\s+(?:"[^"]*"|'[^']*'|\([^()]*\)))?\s*\)/.exec(rest);
  if (m) return { href: (m[1] ?? m[2]).replace(/\\([!-/:-@[-`{-~])/g, "$1"), end: i + m[0].length };
  if (open && rest.length < 2048 && /^\([^\s()]*$/.test(rest)) return { href: null, end: s.length };
  return null;
}

// resolve pairs the delimiters of nodes (from an index on) as CommonMark does, and nests.
function resolve(nodes, from, open) {
  const openers = [];
  for (let i = from; i < nodes.length; i++) {
    const d = nodes[i];
    if (d.t !== "delim") continue;
    if (d.canClose) close(d, openers);
    if (d.canOpen && d.n > 0) openers.push(d);
  }
  if (open) { // what is begun counts as ended, strong only: a single star may be anything
    const end = { t: "delim", c: "", n: 0, opens: [], closes: [] };
    for (let o; (o = openers.pop());) {
      if (o.n < 2) continue;
      o.n -= 2;
      o.opens.push(o.c === "~" ? "del" : "strong");
      end.closes.push(1);
    }
    nodes.push(end);
  }
  return nest(nodes, from);
}

function close(d, openers) {
  for (let k = openers.length - 1; k >= 0 && d.n > 0;) {
    const o = openers[k];
    const odd = (o.canClose || d.canOpen) && (o.was + d.was) % 3 === 0 && (o.was % 3 !== 0 || d.was % 3 !== 0);
    if (o.c !== d.c || odd) {
      k--;
      continue;
    }
    const n = Math.min(o.n, d.n) >= 2 ? 2 : 1;
    o.n -= n;
    d.n -= n;
    o.opens.push(d.c === "~" ? "del" : n === 2 ? "strong" : "em");
    d.closes.push(1);
    openers.length = o.n > 0 ? k + 1 : k; // what lies between stays text
    if (o.n === 0) k--;
  }
}

function nest(nodes, from) {
  const stack = [[]];
  for (let i = from; i < nodes.length; i++) {
    const d = nodes[i];
    if (d.t !== "delim") {
      stack.at(-1).push(d);
      continue;
    }
    for (let k = d.closes.length; k > 0; k--) stack.pop();
    if (d.n > 0) stack.at(-1).push({ t: "text", a: d.a, b: d.a + d.n });
    for (const t of d.opens.reverse()) { // the pair found last is the outermost
      const node = { t, kids: [] };
      stack.at(-1).push(node);
      stack.push(node.kids);
    }
  }
  return stack[0];
}

// inline parses a paragraph's text; open says that it goes on.
export const inline = (s, open = false) => new Inline(s, open).run();
