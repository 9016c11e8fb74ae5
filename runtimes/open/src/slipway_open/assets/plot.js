// The search over time: the best solution and the bound above, the gap between them below.

import { axisLabels, niceTicks, number, shown, svg } from "./format.js";

const LEFT = 62;
const RIGHT = 14;
const TOP = 30;
const BOTTOM = 24;
const BETWEEN = 22;

export class Plot {
  constructor(root, { objective, unit }) {
    this.root = root;
    this.name = objective || "Objective";
    this.unit = unit || "";
    this.points = [];
    this.pointer = null;
    this.waiting = false;
    new ResizeObserver(() => this.draw()).observe(root);
    root.addEventListener("pointermove", (event) => {
      this.pointer = event.clientX - root.getBoundingClientRect().left;
      this.draw();
    });
    root.addEventListener("pointerleave", () => {
      this.pointer = null;
      this.draw();
    });
  }

  show(points) {
    this.points = points.filter(([elapsed]) => elapsed !== null);
    this.draw();
  }

  add(point) {
    this.points.push(point);
    this.draw();
  }

  searched() {
    return this.points.filter(([, objective, bound]) => objective !== null || bound !== null);
  }

  // At most once per frame, however many points come.
  draw() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      this.render();
    });
  }

  render() {
    const width = this.root.clientWidth;
    const height = this.root.clientHeight;
    if (width < 80 || height < 80) return;
    const picture = svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": "Progress of the search" });
    const searched = this.searched();
    if (searched.length === 0) {
      picture.append(svg("text", { class: "empty", x: width / 2, y: height / 2 }, "The curve of the search appears here"));
      this.root.replaceChildren(picture);
      return;
    }
    const inner = height - TOP - BOTTOM - BETWEEN;
    const upper = { top: TOP, bottom: TOP + inner * 0.68 };
    const lower = { top: upper.bottom + BETWEEN, bottom: height - BOTTOM };
    const last = this.points[this.points.length - 1][0];
    const first = Math.min(searched[0][0], last);
    const time = scale(Math.max(0, first - 0.02 * last), Math.max(last, first + 1), LEFT, width - RIGHT);
    const values = scale(...valueRange(searched), upper.bottom, upper.top);
    const gaps = searched.map((point) => point[3]).filter((gap) => gap !== null);
    const gapTop = Math.min(1, Math.max(0.01, quantile(gaps, 0.9) * 1.25));
    const gap = scale(0, gapTop, lower.bottom, lower.top);

    const clip = svg("clipPath", { id: "plot-clip" }, svg("rect", { x: LEFT, y: upper.top - 3, width: width - LEFT - RIGHT, height: upper.bottom - upper.top + 6 }));
    const gapClip = svg("clipPath", { id: "gap-clip" }, svg("rect", { x: LEFT, y: lower.top - 1, width: width - LEFT - RIGHT, height: lower.bottom - lower.top + 2 }));
    picture.append(svg("defs", {}, clip, gapClip));
    this.axes(picture, { time, values, gap, gapTop, width, upper, lower });

    const objective = steps(searched, 1, time, values, last);
    const bound = steps(searched, 2, time, values, last);
    const band = bandBetween(searched, time, values, last);
    picture.append(
      svg("path", { class: "band", d: band, "clip-path": "url(#plot-clip)" }),
      svg("path", { class: "curve bound", d: bound, "clip-path": "url(#plot-clip)" }),
      svg("path", { class: "curve objective", d: objective, "clip-path": "url(#plot-clip)" }),
      svg("path", { class: "gap-area", d: areaUnder(searched, time, gap, lower.bottom, last), "clip-path": "url(#gap-clip)" }),
      svg("path", { class: "curve gap", d: steps(searched, 3, time, gap, last), "clip-path": "url(#gap-clip)" }),
    );
    const at = this.pointer === null ? searched[searched.length - 1] : this.nearest(searched, time.inverse(this.pointer));
    if (this.pointer !== null) {
      const x = time(at[0]);
      picture.append(svg("line", { class: "cursor", x1: x, x2: x, y1: upper.top, y2: lower.bottom }));
      if (at[1] !== null) picture.append(svg("circle", { class: "mark objective", cx: x, cy: values(at[1]), r: 4, "clip-path": "url(#plot-clip)" }));
      if (at[2] !== null) picture.append(svg("circle", { class: "mark bound", cx: x, cy: values(at[2]), r: 4, "clip-path": "url(#plot-clip)" }));
    }
    this.legend(picture, at, width, lower);
    this.root.replaceChildren(picture);
  }

  nearest(points, elapsed) {
    let best = points[0];
    for (const point of points) {
      if (point[0] <= elapsed) best = point;
    }
    return best;
  }

  axes(picture, { time, values, gap, gapTop, width, upper, lower }) {
    const grid = svg("g", { class: "axes" });
    const valueTicks = niceTicks(...values.domain, 4);
    axisLabels(valueTicks).forEach((label, index) => {
      const y = values(valueTicks[index]);
      grid.append(
        svg("line", { x1: LEFT, x2: width - RIGHT, y1: y, y2: y }),
        svg("text", { x: LEFT - 7, y: y + 4, class: "end" }, label),
      );
    });
    const gapTicks = niceTicks(0, gapTop * 100, 2);
    axisLabels(gapTicks).forEach((label, index) => {
      const y = gap(gapTicks[index] / 100);
      grid.append(
        svg("line", { x1: LEFT, x2: width - RIGHT, y1: y, y2: y }),
        svg("text", { x: LEFT - 7, y: y + 4, class: "end" }, `${label} %`),
      );
    });
    const timeTicks = niceTicks(...time.domain, Math.max(2, Math.floor(width / 110)));
    axisLabels(timeTicks).forEach((label, index) => {
      const x = time(timeTicks[index]);
      grid.append(
        svg("line", { class: "faint", x1: x, x2: x, y1: upper.top, y2: lower.bottom }),
        svg("text", { x, y: lower.bottom + 16, class: "middle" }, `${label} s`),
      );
    });
    picture.append(grid);
  }

  legend(picture, [, objective, bound, gap], width, lower) {
    const digits = this.digits(objective ?? bound ?? 0);
    const entries = [
      ["objective", this.name, objective],
      ["bound", "Bound", bound],
    ];
    let x = LEFT;
    for (const [kind, name, value] of entries) {
      const text = value === null ? name : `${name} ${shown(value, { unit: this.unit, decimals: digits })}`;
      picture.append(
        svg("line", { class: `curve ${kind}`, x1: x, x2: x + 16, y1: 13, y2: 13 }),
        svg("text", { class: "legend", x: x + 22, y: 17 }, text),
      );
      x += 22 + text.length * 6.7 + 22;
    }
    const text = gap === null ? "Gap" : `Gap ${number(gap * 100, 2)} %`;
    picture.append(svg("text", { class: "legend", x: LEFT, y: lower.top - 7 }, text));
  }

  digits(value) {
    const size = Math.abs(value);
    return size >= 1000 || Number.isInteger(value) ? 0 : size >= 10 ? 2 : 3;
  }
}

function scale(low, high, from, to) {
  const span = high - low || 1;
  const map = (value) => from + ((value - low) / span) * (to - from);
  map.inverse = (position) => low + ((position - from) / (to - from)) * span;
  map.domain = [low, high];
  return map;
}

function quantile(values, part) {
  if (values.length === 0) return 0;
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))];
}

// The first solutions of a search are often far off; the range is that of the end of it.
function valueRange(points) {
  const close = points.filter((point) => point[3] !== null && point[3] < 0.3);
  const chosen = (close.length > 0 ? close : points).flatMap(([, objective, bound]) => [objective, bound]);
  const values = chosen.filter((value) => value !== null);
  const low = Math.min(...values);
  const high = Math.max(...values);
  const margin = (high - low) * 0.15 || Math.abs(high) * 0.02 || 1;
  return [low - margin, high + margin];
}

function steps(points, column, time, values, last) {
  let path = "";
  let previous = null;
  for (const point of points) {
    const value = point[column];
    if (value === null) continue;
    const x = time(point[0]).toFixed(1);
    const y = values(value).toFixed(1);
    path += previous === null ? `M${x},${y}` : `H${x}V${y}`;
    previous = value;
  }
  return previous === null ? "" : `${path}H${time(last).toFixed(1)}`;
}

function bandBetween(points, time, values, last) {
  const both = points.filter(([, objective, bound]) => objective !== null && bound !== null);
  if (both.length === 0) return "";
  const end = time(last).toFixed(1);
  const back = [...both].reverse();
  let path = steps(both, 1, time, values, last);
  path += `V${values(back[0][2]).toFixed(1)}`;
  for (let index = 0; index < back.length; index += 1) {
    const x = time(back[index][0]).toFixed(1);
    path += `H${x}`;
    if (index + 1 < back.length) path += `V${values(back[index + 1][2]).toFixed(1)}`;
  }
  return end === "NaN" ? "" : `${path}Z`;
}

function areaUnder(points, time, gap, base, last) {
  const known = points.filter((point) => point[3] !== null);
  if (known.length === 0) return "";
  return `${steps(known, 3, time, gap, last)}V${base}H${time(known[0][0]).toFixed(1)}Z`;
}
