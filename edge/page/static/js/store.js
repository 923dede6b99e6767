// Conversations, kept in this browser. A conversation is a tree of messages: editing or regenerating
// adds a version beside the old one, and chosen says which one of each branch is read.
//
// conversation: {id, title, created, updated, chosen: {parent id or "": message id}}
// message: {id, conversation, parent, role, content, created, tokens?, ...}

const NAME = "outrider";

const wrap = (request) => new Promise((resolve, reject) => {
  request.onsuccess = () => resolve(request.result);
  request.onerror = () => reject(request.error);
});

const done = (tx) => new Promise((resolve, reject) => {
  tx.oncomplete = () => resolve();
  tx.onabort = tx.onerror = () => reject(tx.error);
});

export const newID = () => crypto.getRandomValues(new Uint32Array(3)).reduce((s, n) => s + n.toString(36).padStart(7, "0"), "");

// open returns a Store; where the browser keeps nothing, one in memory.
export async function open() {
  try {
    const request = indexedDB.open(NAME, 1);
    request.onupgradeneeded = () => {
      request.result.createObjectStore("conversations", { keyPath: "id" });
      request.result.createObjectStore("messages", { keyPath: "id" }).createIndex("conversation", "conversation");
    };
    return new Store(await wrap(request));
  } catch {
    return new Memory();
  }
}

class Store {
  kept = true;

  constructor(db) {
    this.db = db;
    db.onversionchange = () => db.close();
  }

  // list returns all conversations, the newest first.
  async list() {
    const all = await wrap(this.db.transaction("conversations").objectStore("conversations").getAll());
    return all.sort((a, b) => b.updated - a.updated);
  }

  messages(id) {
    return wrap(this.db.transaction("messages").objectStore("messages").index("conversation").getAll(id));
  }

  // save writes a conversation and messages in one transaction.
  async save(conversation, ...messages) {
    const tx = this.db.transaction(["conversations", "messages"], "readwrite");
    if (conversation) tx.objectStore("conversations").put(conversation);
    for (const m of messages) tx.objectStore("messages").put(m);
    await done(tx);
  }

  // remove deletes conversations and returns what undoes it.
  async remove(...ids) {
    const gone = [];
    for (const id of ids) gone.push(...await this.messages(id));
    const tx = this.db.transaction(["conversations", "messages"], "readwrite");
    const kept = [];
    for (const id of ids) {
      const request = tx.objectStore("conversations").get(id);
      request.onsuccess = () => request.result && kept.push(request.result);
      tx.objectStore("conversations").delete(id);
    }
    for (const m of gone) tx.objectStore("messages").delete(m.id);
    await done(tx);
    return async () => {
      for (const c of kept) await this.save(c);
      await this.save(null, ...gone);
    };
  }
}

// Memory is a Store for browsers that keep nothing (private windows, blocked storage).
class Memory {
  kept = false;
  #conversations = new Map();
  #messages = new Map();

  async list() { return [...this.#conversations.values()].sort((a, b) => b.updated - a.updated); }
  async messages(id) { return [...this.#messages.values()].filter((m) => m.conversation === id); }
  async save(conversation, ...messages) {
    if (conversation) this.#conversations.set(conversation.id, structuredClone(conversation));
    for (const m of messages) this.#messages.set(m.id, structuredClone(m));
  }
  async remove(...ids) {
    const gone = [...this.#messages.values()].filter((m) => ids.includes(m.conversation));
    const kept = ids.map((id) => this.#conversations.get(id)).filter(Boolean);
    for (const id of ids) this.#conversations.delete(id);
    for (const m of gone) this.#messages.delete(m.id);
    return async () => {
      for (const c of kept) await this.save(c);
      await this.save(null, ...gone);
    };
  }
}

// Tree is one conversation's messages.
export class Tree {
  constructor(conversation, messages = []) {
    this.conversation = conversation;
    this.byID = new Map();
    this.kids = new Map(); // parent's id or "" -> messages, oldest first
    for (const m of messages.sort((a, b) => a.created - b.created || (a.id < b.id ? -1 : 1))) this.add(m);
  }

  add(m) {
    this.byID.set(m.id, m);
    const list = this.kids.get(m.parent);
    if (list) list.push(m); else this.kids.set(m.parent, [m]);
  }

  versions(m) { return this.kids.get(m.parent) ?? [m]; }
  choose(m) { this.conversation.chosen[m.parent] = m.id; }

  // path returns the messages that are read, from the first to the last.
  path() {
    const out = [];
    for (let at = ""; ;) {
      const list = this.kids.get(at);
      if (!list) return out;
      const m = list.find((x) => x.id === this.conversation.chosen[at]) ?? list.at(-1);
      out.push(m);
      at = m.id;
    }
  }

  // before returns what is read before a message.
  before(m) {
    const out = [];
    for (let at = this.byID.get(m.parent); at; at = this.byID.get(at.parent)) out.unshift(at);
    return out;
  }
}

// settings live in localStorage: they are small, and the theme is needed before the first paint.
export const defaults = { model: "", system: "", temperature: 0.7, topP: 1, maxTokens: "", seed: "", mode: "", acceptance: "", depth: 0,
  fallback: "", theme: "", language: "", tokens: true, panel: true };

export function loadSettings() {
  try {
    return { ...defaults, ...JSON.parse(localStorage.getItem("outrider.settings") ?? "{}") };
  } catch {
    return { ...defaults };
  }
}

export function saveSettings(s) {
  try {
    localStorage.setItem("outrider.settings", JSON.stringify(s));
  } catch {
    // not kept: they hold until the page closes
  }
}

// The API key is kept for this tab, or in the browser when the person says so.
export const key = {
  get() {
    try { return sessionStorage.getItem("outrider.key") ?? localStorage.getItem("outrider.key") ?? ""; } catch { return this.value ?? ""; }
  },
  set(value, keep) {
    this.value = value;
    try {
      sessionStorage.removeItem("outrider.key");
      localStorage.removeItem("outrider.key");
      if (value) (keep ? localStorage : sessionStorage).setItem("outrider.key", value);
    } catch {
      // held in memory
    }
  },
};
