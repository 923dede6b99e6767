// Small charts in SVG. Each is an image with a label that says what it shows.
import { s } from "./dom.js";

const frame = (w, h, cls) => s("svg", { viewBox: `0 0 ${w} ${h}`, class: "chart " + cls, role: "img", preserveAspectRatio: "none" });

// Bars shows shares between 0 and 1; a share that is null has no bar.
export class Bars {
  constructor(n, width = 264, height = 72) {
    Object.assign(this, { n, width, height });
    this.el = s("svg", { viewBox: `0 0 ${width} ${height + 14}`, class: "chart bars", role: "img" });
    const step = width / n;
    this.bars = [];
    for (let i = 0; i < n; i++) {
      this.el.append(s("rect", { class: "ground", x: i * step + 2, y: 0, width: step - 4, height, rx: 3 }));
      const bar = s("rect", { class: "bar", x: i * step + 2, y: height, width: step - 4, height: 0, rx: 3 });
      const label = s("text", { x: i * step + step / 2, y: height + 12, "text-anchor": "middle" });
      label.textContent = i + 1;
      this.el.append(bar, label);
      this.bars.push(bar);
    }
  }

  set(shares, label) {
    this.bars.forEach((bar, i) => {
      const h = Math.max(shares[i] === null ? 0 : 2, (shares[i] ?? 0) * this.height);
      bar.setAttribute("height", h);
      bar.setAttribute("y", this.height - h);
    });
    this.el.setAttribute("aria-label", label);
  }
}

// Line shows values over time, with an area below and, when given, a level to compare with.
export class Line {
  constructor(width = 264, height = 56) {
    Object.assign(this, { width, height });
    this.el = frame(width, height, "line");
    this.area = s("path", { class: "area" });
    this.path = s("path", { class: "stroke", "vector-effect": "non-scaling-stroke" });
    this.level = s("path", { class: "level", "vector-effect": "non-scaling-stroke" });
    this.el.append(this.area, this.level, this.path);
  }

  // set takes points [x, y] in order, and returns the largest y that fits.
  set(points, label, level = 0, steps = false) {
    this.el.setAttribute("aria-label", label);
    const top = Math.max(1e-9, level * 1.15, ...points.map((p) => p[1])) * 1.05;
    const x0 = points[0]?.[0] ?? 0, span = Math.max(1e-9, (points.at(-1)?.[0] ?? 1) - x0);
    const x = (v) => (((v - x0) / span) * this.width).toFixed(1), y = (v) => (this.height - (v / top) * (this.height - 2)).toFixed(1);
    let d = "";
    for (const [px, py] of points) d += d === "" ? `M${x(px)} ${y(py)}` : steps ? `H${x(px)}V${y(py)}` : `L${x(px)} ${y(py)}`;
    this.path.setAttribute("d", d);
    this.area.setAttribute("d", d && `${d}V${this.height}H0Z`);
    this.level.setAttribute("d", level > 0 ? `M0 ${y(level)}H${this.width}` : "");
    return top;
  }
}

// Parts shows counts as one bar; parts are told apart by pattern (in CSS) as well as colour.
export class Parts {
  constructor(names) {
    this.el = document.createElement("div");
    this.el.className = "parts";
    this.el.setAttribute("role", "img");
    this.parts = names.map((n) => {
      const part = document.createElement("span");
      part.className = "part " + n;
      this.el.append(part);
      return part;
    });
  }

  set(counts, label) {
    this.parts.forEach((part, i) => { part.style.flexGrow = counts[i]; part.hidden = !counts[i]; });
    this.el.setAttribute("aria-label", label);
  }
}
