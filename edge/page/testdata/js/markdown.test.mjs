import { test } from "node:test";
import assert from "node:assert/strict";
import { element } from "./dom.mjs";
import { Markdown, SEGMENT } from "./js/markdown.js";
import { safeURL } from "./js/inline.js";
import { Tokens } from "./js/tokens.js";

// tidy drops what is the same in every block, to keep expectations readable.
function tidy(html) {
  return html.replace(/^<div>|<\/div>$/g, "").replace(/<span class="seg">(.*?)<\/span>(?=<\/p>)/gs, "$1")
    .replace(/ target="_blank" rel="noopener noreferrer nofollow"/g, "")
    .replace(/<figure class="code"><figcaption><span class="lang">(.*?)<\/span>.*?<code>(.*?)<\/code><\/pre><\/figure>/gs,
      (_, lang, code) => `<pre ${lang}>${code.replace(/<\/?span( class="chunk")?>/g, "")}</pre>`)
    .replace(/<div class="table" tabindex="0">(.*?)<\/div>/gs, "$1").replace(/ scope="col"/g, "");
}

function whole(text, options) {
  const root = element("div");
  const md = new Markdown(root, options);
  md.push(text);
  md.finish();
  return tidy(root.html);
}

// chunked renders after every piece, as a stream does.
function chunked(text, size, options) {
  const root = element("div");
  const md = new Markdown(root, options);
  for (let i = 0; i < text.length;) {
    const n = size();
    md.push(text.slice(i, i + n));
    md.render(i % 3 ? " pending" : "");
    i += n;
  }
  md.finish();
  return tidy(root.html);
}

const CASES = [
  ["plain", "Hello world", "<p>Hello world</p>"],
  ["paragraphs", "a\nb\n\nc", "<p>a\nb</p><p>c</p>"],
  ["breaks", "a  \nb\\\nc<br>d", "<p>a<br>b<br>c<br>d</p>"],
  ["headings", "# One\n###  Three ##\nx\n#no", "<h3>One</h3><h5>Three</h5><p>x\n#no</p>"],
  ["setext", "Title\n===\nSub\n---\nx", "<h3>Title</h3><h4>Sub</h4><p>x</p>"],
  ["rule", "a\n\n---\n***\n", "<p>a</p><hr><hr>"],
  ["emphasis", "*a* **b** ***c*** _d_ __e__ ~~f~~ snake_case_name 2 * 3 * 4",
    "<p><em>a</em> <strong>b</strong> <em><strong>c</strong></em> <em>d</em> <strong>e</strong> <del>f</del> snake_case_name 2 * 3 * 4</p>"],
  ["nested emphasis", "**a *b* c** *a **b** c* **a*", "<p><strong>a <em>b</em> c</strong> <em>a <strong>b</strong> c</em> *<em>a</em></p>"],
  ["emphasis beside Han", "这是**重点。**然后", "<p>这是<strong>重点。</strong>然后</p>"],
  ["code spans", "`a` ``b ` c`` ` d ` `e", "<p><code>a</code> <code>b ` c</code> <code>d</code> `e</p>"],
  ["escapes", "\\*a\\* &amp; &lt;b&gt; &#65; &nope; \\q", "<p>*a* &amp; &lt;b&gt; A &amp;nope; \\q</p>"],
  ["no raw HTML", "<script>alert(1)</script> <img src=x onerror=y>\n\n<div>\n*a*\n</div>",
    "<p>&lt;script&gt;alert(1)&lt;/script&gt; &lt;img src=x onerror=y&gt;</p><p>&lt;div&gt;\n<em>a</em>\n&lt;/div&gt;</p>"],
  ["links", "[a](https://x.y/z_(1) 'T') [b](<https://q.r>) [c](mailto:a@b.c) [d]", '<p><a href="https://x.y/z_(1)">a</a> <a href="https://q.r">b</a> <a href="mailto:a@b.c">c</a> [d]</p>'],
  ["unsafe links", "[a](javascript:alert(1)) [b](data:text/html,x) [c](JAVASCRIPT:x) [d](java&#115;cript:x) [e](/x) [f](vbscript:x)",
    "<p><span>a</span> <span>b</span> <span>c</span> <span>d</span> <span>e</span> <span>f</span></p>"],
  ["no link in a link", "[a [b](https://b.b) c](https://c.c)", '<p>[a <a href="https://b.b">b</a> c](<a href="https://c.c">https://c.c</a>)</p>'],
  ["images are links", "![alt](https://x.y/i.png) ![no](x.png)", '<p><a href="https://x.y/i.png">🖼 alt</a> <span>no</span></p>'],
  ["autolinks", "<https://a.b> see https://c.d/e_f), www.g.hi. 看https://j.k/l。好",
    '<p><a href="https://a.b">https://a.b</a> see <a href="https://c.d/e_f">https://c.d/e_f</a>), <a href="https://www.g.hi">www.g.hi</a>. 看<a href="https://j.k/l">https://j.k/l</a>。好</p>'],
  ["bullets", "- a\n- b\n  more\n* c", "<ul><li><p>a</p></li><li><p>b\nmore</p></li></ul><ul><li><p>c</p></li></ul>"],
  ["numbers", "3. a\n4. b", '<ol start="3"><li><p>a</p></li><li><p>b</p></li></ol>'],
  ["nested list", "- a\n  - b\n    - c\n- d", "<ul><li><p>a</p><ul><li><p>b</p><ul><li><p>c</p></li></ul></li></ul></li><li><p>d</p></li></ul>"],
  ["sloppy nested list", "1. a\n  - b\n  - c\n2. d", "<ol><li><p>a</p><ul><li><p>b</p></li><li><p>c</p></li></ul></li><li><p>d</p></li></ol>"],
  ["loose list", "- a\n\n- b\n\n  c\n\nd", '<ul class="loose"><li><p>a</p></li><li><p>b</p><p>c</p></li></ul><p>d</p>'],
  ["tight after loose", "- a\n\nb\n- c", "<ul><li><p>a</p></li></ul><p>b</p><ul><li><p>c</p></li></ul>"],
  ["tasks", "- [ ] a\n- [x] b", '<ul><li><p class="task"><span class="box" role="img" aria-label=" "></span>a</p></li><li><p class="task"><span class="box done" role="img" aria-label="x"></span>b</p></li></ul>'],
  ["list ends a paragraph", "a\n- b\n\nx\n1986. a year", "<p>a</p><ul><li><p>b</p></li></ul><p>x\n1986. a year</p>"],
  ["quote", "> a\n> b\nlazy\n\n> c\n\nd", "<blockquote><p>a\nb\nlazy</p></blockquote><blockquote><p>c</p></blockquote><p>d</p>"],
  ["quote with list", "> - a\n>   b\n> - c", "<blockquote><ul><li><p>a\nb</p></li><li><p>c</p></li></ul></blockquote>"],
  ["fence", "```go\nfunc *a*() {\n\n  x\n}\n```\nafter", "<pre go>func *a*() {\n\n  x\n}\n</pre><p>after</p>"],
  ["fence variants", "~~~\n```\n~~~\n````x\n```\n````", "<pre code>```\n</pre><pre x>```\n</pre>"],
  ["open fence", "```\na", "<pre code>a\n</pre>"],
  ["fence in a list", "1. a\n   ```sh\n   ls\n     -l\n   ```\n2. b", "<ol><li><p>a</p><pre sh>ls\n  -l\n</pre></li><li><p>b</p></li></ol>"],
  ["table", "| a | b |\n|:-:|--:|\n| `x|y` | **1** |\n| 2\n\nend",
    '<table><thead><tr><th class="center">a</th><th class="right">b</th></tr></thead><tbody><tr><td class="center"><code>x|y</code></td><td class="right"><strong>1</strong></td></tr><tr><td class="center">2</td><td class="right"></td></tr></tbody></table><p>end</p>'],
  ["no table", "a | b\nc | d", "<p>a | b\nc | d</p>"],
  ["math stays as it is", "\\(a_1 * b_2\\) and $$x^2$$ costs $5", '<p><code class="math">a_1 * b_2</code> and <code class="math">x^2</code> costs $5</p>'],
  ["windows lines", "a\r\n\r\n- b\r\n", "<p>a</p><ul><li><p>b</p></li></ul>"],
];

// A small generator, so that runs are alike.
function random(seed) {
  return () => (seed = (seed * 1103515245 + 12345) % 2147483648) / 2147483648;
}

for (const [name, text, want] of CASES) {
  test(name, () => {
    assert.equal(whole(text), want);
    for (let seed = 1; seed <= 20; seed++) {
      const r = random(seed);
      assert.equal(chunked(text, () => 1 + Math.floor(r() * 5)), want, `pieces, seed ${seed}`);
    }
    assert.equal(chunked(text, () => 1), want, "one character at a time");
  });
}

test("any text renders alike in one piece and in many, and loses nothing", () => {
  const r = random(7);
  const bits = ["*", "**", "_", "`", "```", "~~", "[", "](https://a.b)", "](", "\n", "\n\n", "- ", "  ", "1. ", "> ", "# ", "|", "|-|-|", "---", "a", "word ",
    "\\", "&amp;", "<b>", "!", "漢字", "：", "https://x.y/z ", "\t", "    ", "$$", "\\(", "- [ ] ", "=== "];
  for (let round = 0; round < 800; round++) {
    let text = "";
    for (let n = Math.floor(r() * 24); n >= 0; n--) text += bits[Math.floor(r() * bits.length)];
    const want = whole(text);
    assert.equal(chunked(text, () => 1 + Math.floor(r() * 4)), want, JSON.stringify(text));
    assert.equal(whole("x " + text).includes("<b>"), false, JSON.stringify(text));
  }
});

test("each token is shown once, in order, whatever markup surrounds it", () => {
  const r = random(11);
  const texts = [...CASES.map((c) => c[1]), "word ".repeat(2000), "nospace".repeat(900)];
  for (const text of texts) {
    const tokens = new Tokens();
    const root = element("div");
    const md = new Markdown(root, { tokens });
    for (let i = 0; i < text.length;) {
      const n = Math.min(text.length - i, 1 + Math.floor(r() * 6));
      tokens.add(tokens.length, n, 1 + (tokens.length % 4), 0);
      md.push(text.slice(i, i + n));
      if (r() < (text.length > 3000 ? 0.1 : 0.7)) md.render("next");
      i += n;
    }
    md.finish();
    let last = -1;
    const seen = new Map();
    (function walk(el) {
      for (const k of el.childNodes) {
        if (!k.childNodes) continue;
        if (k.className.startsWith("t ")) {
          assert.ok(k.dataset.i >= last, "in order");
          last = k.dataset.i;
          seen.set(last, (seen.get(last) ?? "") + k.textContent);
        } else walk(k);
      }
    })(root);
    for (const [i, shown] of seen) {
      const source = text.slice(tokens.start(i), tokens.ends[i]);
      let at = 0; // all that is shown is there, in order; markup between may be missing
      for (const c of shown.replace(/\s/g, "")) at = source.indexOf(c, at) + 1 || Infinity;
      assert.ok(source.includes("&") || at <= source.length, `${JSON.stringify(shown)} of ${JSON.stringify(source)}`);
    }
  }
});

test("a long paragraph is cut into segments, alike in one piece and in many", () => {
  const text = "lorem ipsum **dolor** sit amet ".repeat(300);
  const root = element("div");
  const md = new Markdown(root);
  let painted = 0;
  for (let i = 0; i < text.length; i += 7) {
    md.push(text.slice(i, i + 7));
    md.render();
    painted = Math.max(painted, root.lastChild.lastChild.textContent.length);
  }
  md.finish();
  assert.ok(root.lastChild.childNodes.length > 2);
  assert.ok(painted < SEGMENT + 50, `a segment has up to ${painted} characters`);
  assert.equal(tidy(root.html), whole(text));
});

test("the cost of a piece does not grow with the text before it", () => {
  for (const piece of ["word ", "a **b** c\n", "- item `x`\n", "\n\n# h\n\ntext\n", "| a | b |\n"]) {
    const cost = (n) => {
      const md = new Markdown(element("div"), { tokens: new Tokens() });
      if (piece.startsWith("|")) md.push("| x | y |\n|-|-|\n");
      const began = process.cpuUsage();
      for (let i = 0; i < n; i++) { md.push(piece); md.render(); }
      const used = process.cpuUsage(began);
      return (used.user + used.system) / n;
    };
    cost(200); // warm
    const few = cost(400), many = cost(4000);
    assert.ok(many < few * 6 + 20, `${JSON.stringify(piece)}: ${few.toFixed(1)} µs a piece, then ${many.toFixed(1)}`);
  }
});

test("links that may be followed", () => {
  for (const ok of ["https://a.b", "HTTP://a.b/c?d#e", "mailto:a@b.c", "tel:+123"]) assert.equal(safeURL(ok), ok);
  for (const bad of ["javascript:x", " javascript:x", "java\nscript:x", "data:text/html,x", "vbscript:x", "file:///etc/passwd", "blob:x", "/rel", "#x", "//host", ""])
    assert.equal(safeURL(bad), "", bad);
});
