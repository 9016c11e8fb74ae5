// The forms: sent without leaving the page, errors beside the values, tables that grow.

export function enhanceForm(form, { onProblem, onStarted }) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    showErrors(form, []);
    const answer = await post(form.getAttribute("action"), new URLSearchParams(new FormData(form)));
    if (answer.ok) {
      onStarted();
      return;
    }
    const problem = await problemOf(answer);
    showErrors(form, problem.errors || []);
    onProblem(problem);
  });
  form.querySelectorAll("table.editable").forEach(growWhenFull);
}

export async function post(address, body) {
  try {
    return await fetch(address, { method: "POST", body, headers: { accept: "application/json" } });
  } catch {
    return new Response(JSON.stringify({ title: "The app cannot be reached", detail: "Check your connection and try again." }), { status: 503 });
  }
}

export async function problemOf(answer) {
  try {
    return await answer.json();
  } catch {
    return { title: "The app cannot be reached", detail: `The server answered ${answer.status}.` };
  }
}

function showErrors(form, errors) {
  for (const place of form.querySelectorAll("[data-error-for]")) {
    const error = errors.find(({ path }) => path.split("/")[1] === place.dataset.errorFor);
    place.textContent = error ? error.message : "";
    place.closest(".row").classList.toggle("wrong", Boolean(error));
  }
  form.querySelector(".wrong input, .wrong select, .wrong textarea")?.focus();
}

function growWhenFull(table) {
  const body = table.tBodies[0];
  table.addEventListener("input", () => {
    const last = body.rows[body.rows.length - 1];
    const used = [...last.querySelectorAll("input, select")].some((cell) => cell.value.trim() !== "" && cell.tagName === "INPUT");
    if (!used) return;
    const next = last.cloneNode(true);
    for (const cell of next.querySelectorAll("[name]")) {
      cell.name = cell.name.replace(/\[\d+\]/, `[${body.rows.length}]`);
      cell.id = cell.name;
      if (cell.tagName === "INPUT") cell.value = "";
    }
    body.append(next);
  });
}
