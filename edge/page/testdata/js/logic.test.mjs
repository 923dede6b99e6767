import { test } from "node:test";
import assert from "node:assert/strict";
import { Parser } from "./js/sse.js";
import { Aligner, Tokens, codeOf, fateOf, isLate, steps } from "./js/tokens.js";
import { Tree } from "./js/store.js";
import { bodyOf } from "./js/client.js";
import { speeds } from "./js/panel.js";

test("events arrive whole, however the stream is cut", () => {
  const stream = "\ufeff: beat\r\n\r\ndata: {\"a\":1}\r\n\r\ndata:two\ndata: lines\n\nevent: x\nid: 1\ndata\n\ndata: é漢\r\rdata: [DONE]\n\ndata: unfinished";
  const want = ['{"a":1}', "two\nlines", "", "é漢", "[DONE]"];
  for (let size = 1; size < 30; size++) {
    const p = new Parser(), got = [];
    for (let i = 0; i < stream.length; i += size) got.push(...p.push(stream.slice(i, i + size)), ...p.push(""));
    assert.deepEqual(got, want, `pieces of ${size}`);
  }
});

const token = (id, text, fate = "accepted", more = {}) => ({ id, text, fate, ...more });

test("tokens cover the text without gaps, whatever the API leaves out of it", () => {
  const tokens = new Tokens(), a = new Aligner(tokens);
  a.push("Hello wor", [token(1, "Hello"), token(2, " wor", "correction")], 10);
  a.push("ld", [token(3, "", "bonus"), token(4, "ld", "run_ahead", { late: true })], 20); // 3: a part of a character
  a.drop("thought", [token(5, "<think>"), token(6, "thought"), token(7, "</think>")], 30);
  a.push("!", [token(8, "!", "accepted", { unverified: true })], 40);
  a.push("said by none", [], 50);
  a.push("", [token(9, "", "bonus")], 60); // the end
  const text = "Hello world!said by none";
  assert.equal(tokens.end, text.length);
  const shown = tokens.ids.map((id, i) => [id, text.slice(tokens.start(i), tokens.ends[i]), fateOf(tokens.fates[i])]);
  assert.deepEqual(shown, [[1, "Hello", "accepted"], [2, " wor", "correction"], [3, "", "bonus"], [4, "ld", "run_ahead"],
    [8, "!", "unverified"], [-1, "said by none", "unknown"], [9, "", "bonus"]]);
  assert.equal(tokens.late, 1);
  assert.ok(isLate(tokens.fates[3]) && !isLate(tokens.fates[0]));
  assert.deepEqual(tokens.counts, [0, 1, 1, 2, 1, 1]);
  assert.equal(tokens.find(0), 0);
  assert.equal(tokens.find(6), 1);
  const again = new Tokens(tokens.data());
  assert.deepEqual([again.ids, again.ends, again.fates, again.counts], [tokens.ids, tokens.ends, tokens.fates, tokens.counts]);
});

test("a fate of the API has a code of its own; words of later versions are unknown, not an error", () => {
  assert.equal(fateOf(codeOf(token(1, "a", "run-ahead"))), "run_ahead");
  assert.equal(fateOf(codeOf(token(1, "a", "telepathy"))), "unknown");
});

test("passes and acceptance by position follow from the fates", () => {
  const tokens = new Tokens();
  const code = { a: 1, c: 2, b: 3, r: 4, u: 5 };
  for (const f of "rraabaacracbu") tokens.add(1, 1, code[f], 0);
  const s = steps(tokens, 4);
  // r | r | a a b | a a c | r | a c | b | u (by the draft alone)
  assert.deepEqual([s.passes, s.scoring], [7, 4]);
  assert.deepEqual(s.reached, [3, 3, 1, 0]);
  assert.deepEqual(s.held, [3, 2, 0, 0]);
  assert.equal(s.meanLength, 9 / 4);
});

test("versions of messages make a tree; one path is read", () => {
  const tree = new Tree({ id: "c", chosen: {} });
  const m = (id, parent, created) => { const x = { id, parent, created, role: "user" }; tree.add(x); return x; };
  m("q1", "", 1); m("a1", "q1", 2); const a2 = m("a2", "q1", 3); m("q2", "a1", 4);
  assert.deepEqual(tree.path().map((x) => x.id), ["q1", "a2"]);
  tree.choose(tree.byID.get("a1"));
  assert.deepEqual(tree.path().map((x) => x.id), ["q1", "a1", "q2"]);
  assert.deepEqual(tree.versions(a2).map((x) => x.id), ["a1", "a2"]);
  assert.deepEqual(tree.before(tree.byID.get("q2")).map((x) => x.id), ["q1", "a1"]);
  const again = new Tree({ id: "c", chosen: tree.conversation.chosen }, [...tree.byID.values()].reverse());
  assert.deepEqual(again.path().map((x) => x.id), ["q1", "a1", "q2"]);
});

test("a request holds what the edge supports, and nothing else", () => {
  const s = { system: " Be brief. ", mode: "only_in_cloud", acceptance: "lenient", fallback: "draft", depth: 99, temperature: 0, model: "m", topP: 1, maxTokens: "20", seed: "" };
  const path = [{ role: "user", content: "Hi" }, { role: "assistant", content: "", error: {} }, { role: "user", content: "Hi?" }];
  const body = bodyOf(path, s, { modes: ["cooperative", "only_in_cloud"], fallback: ["wait"], max_depth: 32 });
  assert.deepEqual(body.messages, [{ role: "system", content: "Be brief." }, { role: "user", content: "Hi" }, { role: "user", content: "Hi?" }]);
  assert.deepEqual(body.outrider, { tokens: true, pending: true, progress: true, mode: "only_in_cloud", depth: 32 });
  assert.deepEqual([body.temperature, body.model, body.max_tokens, body.top_p, body.seed, body.stream], [0, "m", 20, undefined, undefined, true]);
});

test("time per token is a moving mean", () => {
  const samples = Array.from({ length: 50 }, (_, i) => ({ at: i * 20, tokens: i * 2 }));
  const out = speeds(samples);
  assert.ok(out.length > 40 && out.every(([, ms]) => Math.abs(ms - 10) < 1e-9));
  assert.deepEqual(speeds([{ at: 0, tokens: 1 }]), []);
});
