// Tokens of an answer: where each one is in the text, and how it came.

// The words of the API, in the order of their codes.
export const FATES = ["unknown", "accepted", "correction", "bonus", "run_ahead", "unverified"];
const LATE = 8; // added to a code: the draft had proposed the same, too late to save anything

export function codeOf(token) {
  if (token.unverified) return 5;
  const code = Math.max(0, FATES.indexOf(String(token.fate).replace("-", "_")));
  return token.late ? code | LATE : code;
}

export const fateOf = (code) => FATES[code & 7] ?? "unknown";
export const isLate = (code) => (code & LATE) !== 0;

// Tokens covers a text without gaps; text that no token stands for has id -1.
export class Tokens {
  constructor(data) {
    this.ids = data?.ids ? [...data.ids] : [];
    this.fates = data?.fates ? [...data.fates] : [];
    this.at = data?.at ? [...data.at] : []; // ms since the request
    this.ends = []; // offset in the text where the token ends
    this.counts = FATES.map(() => 0);
    this.late = 0;
    let end = 0;
    for (let i = 0; i < this.ids.length; i++) {
      end += data.lens[i] ?? 0;
      this.ends.push(end);
      if (this.ids[i] >= 0) this.#count(this.fates[i]);
    }
  }

  get length() { return this.ids.length; }
  get end() { return this.ends.at(-1) ?? 0; }
  start(i) { return i > 0 ? this.ends[i - 1] : 0; }

  add(id, length, fate, at) {
    this.ids.push(id);
    this.fates.push(fate);
    this.at.push(at);
    this.ends.push(this.end + length);
    if (id >= 0) this.#count(fate);
  }

  #count(fate) {
    this.counts[fate & 7]++;
    if (isLate(fate)) this.late++;
  }

  // find returns the first token that ends behind the offset.
  find(offset) {
    let low = 0, high = this.ends.length;
    while (low < high) {
      const mid = (low + high) >> 1;
      if (this.ends[mid] > offset) high = mid; else low = mid + 1;
    }
    return low;
  }

  // data is what is kept in the browser.
  data() {
    return { ids: Int32Array.from(this.ids), fates: Uint8Array.from(this.fates), at: Uint32Array.from(this.at, Math.round),
      lens: Uint16Array.from(this.ends, (e, i) => e - this.start(i)) };
  }
}

// Aligner gives the pieces of an answer's text to its tokens. Text and tokens arrive side by side, but
// may differ: markup of reasoning or of tool calls has tokens that no text stands for.
export class Aligner {
  #wait = []; // tokens whose text has not come yet
  #text = ""; // of these

  constructor(tokens) { this.tokens = tokens; }

  push(content, tokens, at) {
    for (const t of tokens) {
      this.#wait.push({ id: t.id, length: t.text.length, fate: codeOf(t), at });
      this.#text += t.text;
    }
    if (content === "") return this.#flushEmpty();
    const skip = this.#text.indexOf(content);
    if (skip < 0) { // no token says this
      this.tokens.add(-1, content.length, 0, at);
      if (this.#text.length > 1 << 16) this.#wait = [], this.#text = "";
      return;
    }
    this.#take(skip, false);
    this.#take(content.length, true);
    this.#flushEmpty();
  }

  // drop passes over tokens whose text is shown elsewhere, or not at all.
  drop(content, tokens, at) {
    this.push("", tokens, at);
    const skip = this.#text.indexOf(content);
    if (skip >= 0) this.#take(skip + content.length, false);
  }

  // take consumes n characters of waiting tokens; a token may be used in parts.
  #take(n, shown) {
    this.#text = this.#text.slice(n);
    while (n > 0 || (shown && this.#wait[0]?.length === 0)) {
      const t = this.#wait[0];
      const used = Math.min(n, t.length);
      if (shown) this.tokens.add(t.id, used, t.fate, t.at);
      n -= used;
      if (used < t.length) {
        t.length -= used;
        break;
      }
      this.#wait.shift();
    }
  }

  // Tokens without text (parts of a character, ends) count at once.
  #flushEmpty() {
    while (this.#wait[0]?.length === 0) {
      const t = this.#wait.shift();
      this.tokens.add(t.id, 0, t.fate, t.at);
    }
  }
}

// steps derives what the target's passes did from the fates alone: each pass ends with one token of the
// target's own (correction, bonus or run-ahead), the accepted ones before it were proposed.
export function steps(tokens, positions = 12) {
  const reached = new Array(positions).fill(0); // proposals judged at this position
  const held = new Array(positions).fill(0); // and accepted
  let run = 0, passes = 0, scoring = 0, committed = 0, own = 0;
  for (let i = 0; i < tokens.length; i++) {
    if (tokens.ids[i] < 0) continue;
    const fate = fateOf(tokens.fates[i]);
    if (fate === "accepted") { run++; continue; }
    if (fate === "unverified" || fate === "unknown") { run = 0; continue; }
    passes++;
    own++;
    if (run > 0 || fate !== "run_ahead") {
      scoring++;
      committed += run + 1;
      for (let k = 0; k < Math.min(run, positions); k++) reached[k]++, held[k]++;
      if (fate === "correction" && run < positions) reached[run]++;
    }
    run = 0;
  }
  return { passes, scoring, own, reached, held, meanLength: scoring ? committed / scoring : 0 };
}
