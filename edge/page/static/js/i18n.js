// The page's words in English and Chinese.
import { $$ } from "./dom.js";
import { en } from "./words-en.js";
import { zh } from "./words-zh.js";

let words = en;
let locale = "en";

// use chooses a language: "en", "zh", or "" for the browser's.
export function use(choice) {
  const wanted = choice || ((navigator.languages ?? [navigator.language]).find((l) => /^(en|zh)\b/i.test(l)) ?? "en");
  locale = /^zh/i.test(wanted) ? "zh" : "en";
  words = locale === "zh" ? zh : en;
  document.documentElement.lang = locale === "zh" ? "zh-CN" : "en";
}

export const language = () => locale;

// t is a text; {name} is replaced by vars.name. A text may depend on n: one|many.
export function t(key, vars = {}) {
  let text = words[key] ?? en[key] ?? key;
  if (text.includes("|")) text = text.split("|")[vars.n === 1 ? 0 : 1];
  return text.replace(/\{(\w+)\}/g, (_, name) => vars[name] ?? "");
}

// number writes a number with as many digits as are worth reading.
export function number(x, digits = x >= 100 ? 0 : x >= 10 ? 1 : 2) {
  return new Intl.NumberFormat(document.documentElement.lang, { maximumFractionDigits: digits }).format(x);
}

export function bytes(n) {
  if (n < 1000) return `${Math.round(n)} B`;
  return n < 1e6 ? `${number(n / 1e3)} kB` : `${number(n / 1e6)} MB`;
}

// apply puts the words into the page's own markup.
export function apply(root = document) {
  for (const el of $$("[data-t]", root)) el.textContent = t(el.dataset.t);
  for (const el of $$("[data-t-label]", root)) {
    el.setAttribute("aria-label", t(el.dataset.tLabel));
    if (el.matches("button")) el.title = t(el.dataset.tLabel);
  }
  for (const el of $$("[data-t-title]", root)) el.title = t(el.dataset.tTitle);
  for (const el of $$("[data-t-ph]", root)) el.placeholder = t(el.dataset.tPh);
}
