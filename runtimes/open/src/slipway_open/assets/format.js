// Numbers and elements, written the same way everywhere on the page and in its document.

const formats = new Map();

export function number(value, decimals = 0) {
  if (!formats.has(decimals)) {
    formats.set(
      decimals,
      new Intl.NumberFormat("en", { minimumFractionDigits: decimals, maximumFractionDigits: decimals }),
    );
  }
  return formats.get(decimals).format(value);
}

export function shown(value, { unit = "", decimals = 0, percent = false } = {}) {
  if (value === null || value === undefined) return "–";
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value === "number") {
    const text = percent ? `${number(value * 100, decimals)} %` : number(value, decimals);
    return unit ? `${text} ${unit}` : text;
  }
  return Array.isArray(value) ? value.join(", ") : String(value);
}

export function plainText(value) {
  if (typeof value === "number") return String(value);
  return value !== null && typeof value === "object" ? JSON.stringify(value) : shown(value);
}

export function valueAt(value, key) {
  return key.split(".").reduce((part, name) => (part === null || part === undefined ? null : part[name]), value);
}

// Short labels for an axis: all of one axis with the same number of digits.
export function axisLabels(ticks) {
  const step = ticks.length > 1 ? Math.abs(ticks[1] - ticks[0]) : 1;
  const largest = Math.max(...ticks.map(Math.abs), 0);
  const [scale, suffix] = largest >= 1e9 ? [1e9, " bn"] : largest >= 1e6 ? [1e6, " M"] : largest >= 1e4 ? [1e3, " k"] : [1, ""];
  let decimals = 0;
  while (decimals < 6 && Math.abs(Math.round((step / scale) * 10 ** decimals) - (step / scale) * 10 ** decimals) > 1e-6) decimals += 1;
  return ticks.map((tick) => number(tick / scale, decimals) + suffix);
}

// Round values that cover a range, about `count` of them.
export function niceTicks(low, high, count) {
  const span = high - low || 1;
  const raw = span / Math.max(1, count);
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= raw);
  const ticks = [];
  for (let tick = Math.ceil(low / step - 1e-9) * step; tick <= high + step * 1e-9; tick += step) {
    ticks.push(Math.abs(tick) < step * 1e-9 ? 0 : tick);
  }
  return ticks;
}

export function element(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

export function svg(name, attributes = {}, ...children) {
  return filled(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
}

function filled(node, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined) node.setAttribute(key, value);
  }
  node.append(...children);
  return node;
}
