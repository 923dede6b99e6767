// Small helpers to build and find elements. Text is always text: nothing here parses markup.

// h makes an element: h("button.icon", {type: "button", onclick: f, "aria-label": "Copy"}, kids...).
export function h(what, props = {}, ...kids) {
  const [tag, ...classes] = what.split(".");
  const el = document.createElement(tag || "div");
  if (classes.length) el.className = classes.join(" ");
  set(el, props);
  el.append(...kids.filter((k) => k !== null && k !== undefined));
  return el;
}

const SVG = "http://www.w3.org/2000/svg";

// s makes an SVG element.
export function s(tag, props = {}, ...kids) {
  const el = document.createElementNS(SVG, tag);
  set(el, props);
  el.append(...kids);
  return el;
}

function set(el, props) {
  for (const [k, v] of Object.entries(props)) {
    if (v === null || v === undefined || v === false) continue;
    if (k.startsWith("on")) el.addEventListener(k.slice(2), v);
    else el.setAttribute(k, v === true ? "" : v);
  }
}

export const $ = (selector, root = document) => root.querySelector(selector);
export const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];

// Icons, drawn for this page on a 20 x 20 grid.
const ICONS = {
  plus: "M10 4v12M4 10h12",
  send: "M10 16V4M4.5 9.5 10 4l5.5 5.5",
  stop: "M6 6h8v8H6z",
  copy: "M7.5 7.5V5a1.5 1.5 0 0 1 1.5-1.5h6A1.5 1.5 0 0 1 16.5 5v6a1.5 1.5 0 0 1-1.5 1.5h-2.5M5 7.5h6a1.5 1.5 0 0 1 1.5 1.5v6a1.5 1.5 0 0 1-1.5 1.5H5A1.5 1.5 0 0 1 3.5 15V9A1.5 1.5 0 0 1 5 7.5z",
  check: "M4.5 10.5 8.5 14.5 15.5 6",
  edit: "M4 16l.8-3.3L13 4.5a1.6 1.6 0 0 1 2.3 0l.2.2a1.6 1.6 0 0 1 0 2.3L7.3 15.2 4 16z",
  redo: "M15.5 8.5A6 6 0 1 0 16 11M16 4v4.5h-4.5",
  trash: "M4 6h12M8 6V4h4v2M5.5 6l.7 10h7.6l.7-10M8.5 9v4.5M11.5 9v4.5",
  save: "M10 3.5v9M6.5 9 10 12.5 13.5 9M4 16h12",
  gear: "M4 6h5M13 6h3M4 14h3M11 14h5M11 4v4M9 12v4",
  menu: "M4 6h12M4 10h12M4 14h12",
  chart: "M4 16V9M8 16V4M12 16v-5M16 16V7",
  close: "M5 5l10 10M15 5 5 15",
  left: "M12 5 7 10l5 5",
  right: "M8 5l5 5-5 5",
  mic: "M10 3a2 2 0 0 1 2 2v5a2 2 0 0 1-4 0V5a2 2 0 0 1 2-2zM5.5 9.5a4.5 4.5 0 0 0 9 0M10 14v3",
  image: "M3.5 4.5h13v11h-13zM3.5 13l4-4 3.5 3.5 2-2 3.5 3.5M12.5 8h.5",
  sound: "M4 8v4h2.5L10 15V5L6.5 8zM13 7.5a3.5 3.5 0 0 1 0 5M15 5.5a6.5 6.5 0 0 1 0 9",
  tokens: "M3.5 8h4M9.5 8h3M14.5 8h2M3.5 13h2M7.5 13h5M14.5 13h2",
  down: "M10 4v12M4.5 10.5 10 16l5.5-5.5",
  search: "M9 4a5 5 0 1 1 0 10A5 5 0 0 1 9 4zM12.8 12.8 16.5 16.5",
};

// icon is decoration: the button around it has the name.
export function icon(name) {
  return s("svg", { viewBox: "0 0 20 20", class: "icon", "aria-hidden": "true", focusable: "false" }, s("path", { d: ICONS[name] }));
}

// button makes a labelled icon button; the label is also its tooltip.
export function button(name, label, onclick, cls = "icon-button") {
  return h("button." + cls, { type: "button", "aria-label": label, title: label, onclick }, icon(name));
}

// download hands a file to the person.
export function download(name, type, text) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  const a = h("a", { href: url, download: name });
  document.body.append(a);
  a.click();
  a.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}
