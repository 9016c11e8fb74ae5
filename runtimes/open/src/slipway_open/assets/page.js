// Keeps the page in step with the engine. The document already shows the state it was made in;
// from then on the live channel tells each change, to all who have the page open.

import { enhanceForm, post, problemOf } from "./form.js";
import { number } from "./format.js";
import { MapPicture } from "./map.js";
import { Plot } from "./plot.js";
import { showFigures, showPlain, showProblem, showTables } from "./result.js";

const WORDS = {
  idle: "Ready",
  running: "Running",
  solving: "Solving",
  completed: "Completed",
  interrupted: "Stopped, best solution kept",
  cancelled: "Cancelled",
  failed: "Failed",
};
const ACTIVE = new Set(["running", "solving"]);
const LONGEST_LOG = 2000;
const POLLING = 1000;
const SLOWEST_RETRY = 8000;
const PATIENCE = 5000;
const GONE = new Set([401, 404, 409, 410]);

const byId = (id) => document.getElementById(id);

class PageState {
  constructor({ views, initial }) {
    this.views = views;
    this.initial = initial;
    this.plot = new Plot(byId("plot"), { objective: views.objective, unit: views.unit });
    this.map = views.map ? new MapPicture(byId("map"), views.map, initial) : null;
    this.run = null;
    this.state = "idle";
    this.progress = {};
    this.log = [];
    this.began = 0;
    setInterval(() => this.tick(), 100);
  }

  snapshot(message) {
    this.run = message.run ?? null;
    this.state = message.state;
    this.progress = message.progress || {};
    this.log = message.log || [];
    this.began = performance.now() - (message.elapsed || 0) * 1000;
    this.elapsed = message.elapsed ?? null;
    this.plot.show(message.points || []);
    this.result(message.value, message.problem);
    this.showLog();
    this.showState();
  }

  // Gives false if a start was missed, so that the caller asks for the whole state.
  change(message) {
    if (message.run !== this.run) return false;
    this.state = message.now;
    if (message.type === "progress") {
      this.progress = message;
      this.plot.add([message.elapsed ?? null, message.objective ?? null, message.bound ?? null, message.gap ?? null]);
    } else if (message.type === "log") {
      this.log.push(message.text);
      this.log.splice(0, this.log.length - LONGEST_LOG);
      this.showLog();
    } else {
      this.elapsed = (performance.now() - this.began) / 1000;
      this.result(message.value, message.problem);
    }
    this.showState();
    return true;
  }

  result(value, problem) {
    showFigures(byId("figures"), this.views.figures, value || {});
    showTables(byId("tables"), this.views.tables, value || {});
    showPlain(byId("plain"), byId("figures"), this.views, value || {});
    showProblem(byId("problem"), problem);
    this.map?.show(value || this.initial);
  }

  showState() {
    document.body.dataset.state = this.state;
    const active = ACTIVE.has(this.state);
    document.querySelectorAll("form.inputs button.primary").forEach((button) => {
      button.disabled = active;
    });
    byId("stop").hidden = !active;
    if (!active) byId("stop").querySelectorAll("button").forEach((button) => (button.disabled = false));
    byId("plot-card").hidden = this.plot.searched().length === 0;
    const fraction = byId("fraction");
    fraction.hidden = !active;
    const known = this.progress.fraction ?? null;
    fraction.classList.toggle("unknown", known === null);
    fraction.firstElementChild.style.width = known === null ? "" : `${known * 100}%`;
    this.tick();
  }

  tick() {
    const parts = [WORDS[this.state]];
    const active = ACTIVE.has(this.state);
    if (active && this.progress.message) parts[0] = this.progress.message;
    const elapsed = active ? (performance.now() - this.began) / 1000 : this.elapsed;
    if (elapsed !== null && elapsed !== undefined) parts.push(`${number(elapsed, 1)} s`);
    if (this.progress.gap !== undefined && !["failed", "cancelled"].includes(this.state)) parts.push(`gap ${number(this.progress.gap * 100, 2)} %`);
    byId("status-text").textContent = parts.join(" · ");
  }

  showLog() {
    const panel = byId("log");
    const atEnd = panel.scrollTop + panel.clientHeight >= panel.scrollHeight - 30;
    byId("log-count").textContent = this.log.length > 0 ? `${this.log.length} lines` : "";
    if (!byId("log-panel").open) return;
    panel.textContent = this.log.join("\n");
    if (atEnd) panel.scrollTop = panel.scrollHeight;
  }
}

// The channel reconnects until the session is over; while it cannot, the state is asked for now
// and then.
class Live {
  constructor(page) {
    this.page = page;
    this.retry = 250;
    this.polling = null;
    this.lostAt = null;
    this.over = false;
    this.connect();
  }

  connect() {
    if (this.over) return;
    const address = new URL("live", document.baseURI);
    address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
    this.socket = new WebSocket(address);
    this.socket.addEventListener("open", () => {
      this.retry = 250;
      this.lostAt = null;
      clearInterval(this.polling);
      this.polling = null;
      toast("");
    });
    this.socket.addEventListener("message", ({ data }) => {
      const message = JSON.parse(data);
      if (message.type === "snapshot") this.page.snapshot(message);
      else if (!this.page.change(message)) this.socket.close();
    });
    this.socket.addEventListener("close", () => {
      if (this.over) return;
      this.lostAt ??= performance.now();
      this.polling ??= setInterval(() => this.poll(), POLLING);
      setTimeout(() => this.connect(), this.retry * (0.5 + Math.random()));
      this.retry = Math.min(SLOWEST_RETRY, this.retry * 2);
    });
  }

  async poll() {
    try {
      const answer = await fetch("state", { signal: AbortSignal.timeout(5 * POLLING) });
      if (!answer.ok) throw new Error(String(answer.status));
      this.page.snapshot(await answer.json());
      this.lostAt = null;
      toast("");
    } catch {
      if (this.lostAt === null || this.over) return;
      const over = performance.now() - this.lostAt > PATIENCE && (await this.isOver());
      toast(over ? "This session is over. Launch the app again from the portal." : "The connection to the app is lost. Trying again…");
    }
  }

  // Only the answer to a request for the page itself tells a session that is over from a bad line.
  async isOver() {
    try {
      const { status } = await fetch(document.baseURI, { redirect: "manual", signal: AbortSignal.timeout(PATIENCE) });
      this.over = GONE.has(status);
      if (this.over) clearInterval(this.polling);
      return this.over || status >= 500;
    } catch {
      return false;
    }
  }
}

function toast(text) {
  byId("toast").hidden = !text;
  byId("toast").textContent = text;
}

const page = new PageState(await (await fetch("page.json")).json());
new Live(page);

document.querySelectorAll("form.inputs").forEach((form) =>
  enhanceForm(form, {
    onProblem: (problem) => showProblem(byId("problem"), problem),
    onStarted: () => showProblem(byId("problem"), null),
  }),
);
byId("stop").addEventListener("submit", async (event) => {
  event.preventDefault();
  event.submitter.disabled = true;
  const answer = await post(event.submitter.getAttribute("formaction") || "interrupt");
  if (!answer.ok) showProblem(byId("problem"), await problemOf(answer));
});
new ResizeObserver(([{ target }]) => {
  document.documentElement.style.setProperty("--top-height", `${target.offsetHeight}px`);
}).observe(document.querySelector(".top"));
byId("log-panel").addEventListener("toggle", () => page.showLog());
document.body.dataset.live = "true";
