// The result in figures and tables, and what went wrong.

import { element, plainText, shown, valueAt } from "./format.js";

export function showFigures(root, figures, value) {
  for (const figure of figures) {
    const cell = root.querySelector(`[data-key="${CSS.escape(figure.key)}"]`);
    if (cell) cell.textContent = shown(valueAt(value, figure.key), figure);
  }
}

export function showTables(root, tables, value) {
  for (const table of tables) {
    const section = root.querySelector(`[data-table="${CSS.escape(table.key)}"]`);
    if (!section) continue;
    const rows = valueAt(value, table.key) || [];
    section.hidden = rows.length === 0;
    const numeric = table.columns.map((column) => rows.some((row) => typeof valueAt(row, column.key) === "number"));
    section.querySelectorAll("th").forEach((cell, index) => cell.classList.toggle("number", numeric[index]));
    section.querySelector("tbody").replaceChildren(
      ...rows.map((row) =>
        element(
          "tr",
          {},
          ...table.columns.map((column, index) =>
            element("td", numeric[index] ? { class: "number" } : {}, shown(valueAt(row, column.key), column)),
          ),
        ),
      ),
    );
  }
}

// A result that the page has no views for is shown name by name.
export function showPlain(root, figures, views, value) {
  const declared = [...views.figures, ...views.tables, ...(views.map?.points ?? [])];
  const undeclared = Object.keys(value).length > 0 && declared.every(({ key }) => (valueAt(value, key) ?? null) === null);
  figures.hidden = undeclared;
  root.replaceChildren(
    ...Object.entries(undeclared ? value : {}).map(([name, part]) =>
      element("div", {}, element("dt", {}, name), element("dd", {}, plainText(part))),
    ),
  );
}

export function showProblem(box, problem) {
  box.hidden = !problem;
  if (!problem) return;
  box.replaceChildren(element("strong", {}, problem.title));
  if (problem.detail) box.append(element("p", {}, problem.detail));
}
