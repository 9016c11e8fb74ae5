// A map without tiles: places and sites by longitude and latitude, and what flows between them.

import { element, shown, svg, valueAt } from "./format.js";

const COLOURS = 10;
const PLACE_RADIUS = [2.2, 9];
const SITE_RADIUS = [6.5, 13];
const LINE_WIDTH = [0.6, 3.2];

export class MapPicture {
  constructor(root, view, initial) {
    this.root = root;
    this.view = view;
    this.backdrop = (view.backdrop && valueAt(initial, view.backdrop)) || [];
    this.value = {};
    this.zoom = { factor: 1, x: 0, y: 0 };
    this.waiting = false;
    this.tooltip = element("div", { class: "tooltip", hidden: "" });
    this.canvas = element("div", { class: "canvas" });
    this.legendBox = element("div", { class: "map-legend" });
    const buttons = element("div", { class: "map-buttons" });
    for (const [sign, label, act] of [
      ["+", "Zoom in", () => this.zoomAt(1.5)],
      ["−", "Zoom out", () => this.zoomAt(1 / 1.5)],
      ["⤢", "Show all", () => this.reset()],
    ]) {
      const button = element("button", { type: "button", title: label, "aria-label": label }, sign);
      button.addEventListener("click", act);
      buttons.append(button);
    }
    root.replaceChildren(this.canvas, buttons, this.legendBox, this.tooltip);
    new ResizeObserver(() => this.draw()).observe(root);
    this.listen();
  }

  show(value) {
    this.value = value;
    this.draw();
  }

  reset() {
    this.zoom = { factor: 1, x: 0, y: 0 };
    this.draw();
  }

  zoomAt(factor, x = this.root.clientWidth / 2, y = this.root.clientHeight / 2) {
    const next = Math.min(30, Math.max(0.5, this.zoom.factor * factor));
    const ratio = next / this.zoom.factor;
    this.zoom = { factor: next, x: x - (x - this.zoom.x) * ratio, y: y - (y - this.zoom.y) * ratio };
    this.draw();
  }

  listen() {
    let from = null;
    this.canvas.addEventListener("wheel", (event) => {
      // A page that cannot be scrolled past its map is a trap: the wheel alone scrolls.
      if (!event.ctrlKey && !event.metaKey) return;
      event.preventDefault();
      const box = this.canvas.getBoundingClientRect();
      this.zoomAt(event.deltaY < 0 ? 1.2 : 1 / 1.2, event.clientX - box.left, event.clientY - box.top);
    }, { passive: false });
    this.canvas.addEventListener("pointerdown", (event) => {
      if (event.pointerType === "touch") return;
      from = { x: event.clientX - this.zoom.x, y: event.clientY - this.zoom.y };
      this.canvas.setPointerCapture(event.pointerId);
    });
    this.canvas.addEventListener("pointermove", (event) => {
      if (from) {
        this.zoom = { ...this.zoom, x: event.clientX - from.x, y: event.clientY - from.y };
        this.draw();
        return;
      }
      this.point(event);
    });
    this.canvas.addEventListener("pointerup", () => {
      from = null;
    });
    this.canvas.addEventListener("click", (event) => this.point(event));
    this.canvas.addEventListener("pointerleave", () => this.hint(null));
  }

  draw() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      this.render();
    });
  }

  layers() {
    return this.view.points.map((layer) => ({
      ...layer,
      rows: (valueAt(this.value, layer.key) || []).filter(
        (row) => Number.isFinite(row[layer.longitude]) && Number.isFinite(row[layer.latitude]),
      ),
    }));
  }

  render() {
    const width = this.root.clientWidth;
    const height = this.root.clientHeight;
    if (width < 60 || height < 60) return;
    const layers = this.layers();
    const project = this.projection(layers, width, height);
    const picture = svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": this.view.title });
    picture.append(this.graticule(project, width, height), this.background(project, width, height));

    const where = new Map();
    const colours = new Map();
    for (const layer of layers) {
      for (const row of layer.rows) {
        const identity = String(row[layer.identity]);
        where.set(identity, project(row[layer.longitude], row[layer.latitude]));
        if (layer.style === "site" && !colours.has(identity)) colours.set(identity, colours.size % COLOURS);
      }
    }
    picture.append(this.connections(where, colours));
    this.targets = [];
    const labels = [];
    for (const layer of layers) picture.append(this.places(layer, project, colours, labels));
    picture.append(this.labels(labels, width, height));
    this.canvas.replaceChildren(picture);
    this.showLegend(layers);
  }

  projection(layers, width, height) {
    const spots = layers.flatMap((layer) => layer.rows.map((row) => mercator(row[layer.longitude], row[layer.latitude])));
    const all = spots.length > 0 ? spots : this.backdrop.map(([longitude, latitude]) => mercator(longitude, latitude));
    const xs = all.map(([x]) => x);
    const ys = all.map(([, y]) => y);
    const [left, right] = all.length > 0 ? [least(xs), most(xs)] : [-0.4, 0.6];
    const [bottom, top] = all.length > 0 ? [least(ys), most(ys)] : [0.6, 1.4];
    const margin = Math.min(width, height) * 0.09;
    const size = Math.min((width - 2 * margin) / (right - left || 0.02), (height - 2 * margin) / (top - bottom || 0.02));
    const { factor, x, y } = this.zoom;
    const middle = [(left + right) / 2, (bottom + top) / 2];
    const project = (longitude, latitude) => {
      const [east, north] = mercator(longitude, latitude);
      return [
        (width / 2 + (east - middle[0]) * size) * factor + x,
        (height / 2 - (north - middle[1]) * size) * factor + y,
      ];
    };
    project.inverse = (px, py) => [
      (((px - x) / factor - width / 2) / size + middle[0]) * (180 / Math.PI),
      (2 * Math.atan(Math.exp((height / 2 - (py - y) / factor) / size + middle[1])) - Math.PI / 2) * (180 / Math.PI),
    ];
    return project;
  }

  graticule(project, width, height) {
    const [west, north] = project.inverse(0, 0);
    const [east, south] = project.inverse(width, height);
    const step = [1, 2, 5, 10, 20, 30].find((degrees) => (east - west) / degrees <= 8) || 45;
    const group = svg("g", { class: "graticule" });
    for (let longitude = Math.ceil(west / step) * step; longitude <= east; longitude += step) {
      const [x] = project(longitude, 0);
      group.append(svg("line", { x1: x, x2: x, y1: 0, y2: height }));
      group.append(svg("text", { x: x + 3, y: height - 5 }, degrees(longitude, "E", "W")));
    }
    for (let latitude = Math.ceil(south / step) * step; latitude <= Math.min(north, 85); latitude += step) {
      const [, y] = project(0, latitude);
      group.append(svg("line", { x1: 0, x2: width, y1: y, y2: y }));
      if (y < height - 24) group.append(svg("text", { x: 5, y: y - 4 }, degrees(latitude, "N", "S")));
    }
    return group;
  }

  background(project, width, height) {
    let path = "";
    for (const [longitude, latitude] of this.backdrop) {
      const [x, y] = project(longitude, latitude);
      if (x > -5 && y > -5 && x < width + 5 && y < height + 5) path += `M${x.toFixed(1)},${y.toFixed(1)}h0`;
    }
    return svg("path", { class: "backdrop", d: path });
  }

  connections(where, colours) {
    const group = svg("g", { class: "connections" });
    this.strongest = new Map();
    for (const layer of this.view.lines) {
      const rows = valueAt(this.value, layer.key) || [];
      const heaviest = most(rows.map((row) => (layer.weight ? row[layer.weight] : 1))) || 1;
      for (const row of rows) {
        const from = where.get(String(row[layer.start]));
        const to = where.get(String(row[layer.end]));
        if (!from || !to) continue;
        const weight = layer.weight ? row[layer.weight] : 1;
        const colour = colours.get(String(row[layer.start]));
        const known = this.strongest.get(String(row[layer.end]));
        if (!known || known.weight < weight) this.strongest.set(String(row[layer.end]), { weight, colour });
        if (from[0] === to[0] && from[1] === to[1]) continue;
        const wide = LINE_WIDTH[0] + Math.sqrt(weight / heaviest) * (LINE_WIDTH[1] - LINE_WIDTH[0]);
        group.append(svg("path", { d: arc(from, to), class: `tint-${colour ?? 0}`, "stroke-width": wide.toFixed(2) }));
      }
    }
    return group;
  }

  places(layer, project, colours, labels) {
    const group = svg("g", { class: layer.style });
    const [small, large] = layer.style === "site" ? SITE_RADIUS : PLACE_RADIUS;
    const biggest = most(layer.rows.map((row) => (layer.size ? row[layer.size] : 1))) || 1;
    const rows = [...layer.rows].sort((a, b) => (layer.size ? b[layer.size] - a[layer.size] : 0));
    for (const row of rows) {
      const [x, y] = project(row[layer.longitude], row[layer.latitude]);
      const part = layer.size ? Math.sqrt(Math.max(0, row[layer.size]) / biggest) : 0.5;
      const radius = layer.size ? small + part * (large - small) : (small + large) / 2.4;
      const identity = String(row[layer.identity]);
      const colour = layer.style === "site" ? colours.get(identity) : this.strongest.get(identity)?.colour;
      const tint = colour === undefined ? "tint-none" : `tint-${colour}`;
      group.append(svg("circle", { cx: x.toFixed(1), cy: y.toFixed(1), r: radius.toFixed(1), class: tint }));
      if (layer.style === "site") {
        group.append(svg("circle", { cx: x.toFixed(1), cy: y.toFixed(1), r: (radius * 0.36).toFixed(1), class: "heart" }));
        labels.push({ text: String(row[layer.label]), x, y, radius });
      }
      this.targets.push({ x, y, radius, layer, row });
    }
    return group;
  }

  // Each label goes to the first side where it meets no other label and no site.
  labels(labels, width, height) {
    const group = svg("g", { class: "labels" });
    const taken = labels.map(({ x, y, radius }) => [x - radius, y - radius, x + radius, y + radius]);
    for (const { text, x, y, radius } of labels) {
      const long = text.length * 6.9 + 4;
      const gap = radius + 4;
      const sides = [
        [x + gap, y - 8, "start"],
        [x - gap - long, y - 8, "start"],
        [x - long / 2, y - gap - 15, "start"],
        [x - long / 2, y + gap, "start"],
      ];
      const free = ([left, top]) =>
        left > 2 && top > 2 && left + long < width - 2 && top + 16 < height - 2 &&
        taken.every(([a, b, c, d]) => left + long < a || left > c || top + 16 < b || top > d);
      const [left, top] = sides.find(free) || sides[0];
      taken.push([left, top, left + long, top + 16]);
      group.append(svg("text", { x: left.toFixed(1), y: (top + 12.5).toFixed(1) }, text));
    }
    return group;
  }

  point(event) {
    const box = this.canvas.getBoundingClientRect();
    const x = event.clientX - box.left;
    const y = event.clientY - box.top;
    let best = null;
    for (const target of this.targets || []) {
      const distance = Math.hypot(target.x - x, target.y - y) - target.radius;
      if (distance < 8 && (!best || distance <= best.distance)) best = { ...target, distance };
    }
    this.hint(best);
  }

  hint(target) {
    this.tooltip.hidden = !target;
    if (!target) return;
    const { layer, row } = target;
    const lines = layer.details.map((column) =>
      element("div", {}, element("span", {}, column.title), element("b", {}, shown(valueAt(row, column.key), column))),
    );
    this.tooltip.replaceChildren(element("strong", {}, String(row[layer.label])), ...lines);
    const right = target.x > this.root.clientWidth / 2;
    this.tooltip.style.left = right ? "auto" : `${target.x + target.radius + 8}px`;
    this.tooltip.style.right = right ? `${this.root.clientWidth - target.x + target.radius + 8}px` : "auto";
    const low = target.y > this.root.clientHeight / 2;
    this.tooltip.style.top = low ? "auto" : `${target.y}px`;
    this.tooltip.style.bottom = low ? `${this.root.clientHeight - target.y}px` : "auto";
  }

  showLegend(layers) {
    const entries = layers
      .filter((layer) => layer.rows.length > 0)
      .map((layer) => element("span", {}, element("i", { class: `key ${layer.style}` }), `${layer.title} (${layer.rows.length})`));
    this.legendBox.replaceChildren(...entries);
  }
}

function mercator(longitude, latitude) {
  const bounded = Math.max(-85, Math.min(85, latitude));
  return [(longitude * Math.PI) / 180, Math.log(Math.tan(Math.PI / 4 + (bounded * Math.PI) / 360))];
}

function degrees(value, positive, negative) {
  return value === 0 ? "0°" : `${Math.abs(value)}° ${value > 0 ? positive : negative}`;
}

function arc([x1, y1], [x2, y2]) {
  const bend = 0.09;
  const x = (x1 + x2) / 2 + (y2 - y1) * bend;
  const y = (y1 + y2) / 2 - (x2 - x1) * bend;
  return `M${x1.toFixed(1)},${y1.toFixed(1)}Q${x.toFixed(1)},${y.toFixed(1)} ${x2.toFixed(1)},${y2.toFixed(1)}`;
}

function least(values) {
  return values.reduce((a, b) => Math.min(a, b), Infinity);
}

function most(values) {
  return values.reduce((a, b) => Math.max(a, b), -Infinity);
}
