// What a session uses at this moment: asked for every two seconds, drawn against its limits.
// Nothing is kept: whoever comes later sees the time from then on.
"use strict";

(() => {
  const PAUSE = 2000;
  const SHOWN = 120_000;
  const NEAR = 0.9;
  const WIDTH = 300;
  const HEIGHT = 100;

  const section = document.getElementById("use");
  const note = document.getElementById("use-note");
  const clock = new Intl.DateTimeFormat(undefined, {
    hour: "2-digit",
    minute: "2-digit",
    second: "2-digit",
  });
  let samples = [];
  let asking = false;

  function mebibytes(size) {
    return size >= 10 * 1024
      ? `${(size / 1024).toFixed(1)} GiB`
      : `${Math.round(size).toLocaleString("en")} MiB`;
  }

  function cores(millis) {
    const figure = String(Math.round(millis / 10) / 100);
    return `${figure} ${figure === "1" ? "core" : "cores"}`;
  }

  // Processor time grows; what is shown is how fast it grew between two looks.
  function load(sample, before) {
    const seconds = (sample.at - before.at) / 1000;
    return seconds > 0 ? Math.max(sample.cpu - before.cpu, 0) / seconds * 1000 : 0;
  }

  // Without a limit the scale has a floor, so that next to nothing looks like next to nothing.
  function draw(name, points, { limit, floor, words }) {
    const chart = document.getElementById(`chart-${name}`);
    const newest = points[points.length - 1];
    const highest = Math.max(...points.map((point) => point.value));
    // Without a limit, the highest value so far leaves a fifth of the room above it.
    const top = Math.max(limit ?? Math.max(highest * 1.25, floor), highest);
    const x = (point) => WIDTH - ((newest.at - point.at) / SHOWN) * WIDTH;
    const y = (point) => HEIGHT - (point.value / top) * HEIGHT;
    const line = points
      .map((point, index) => `${index ? "L" : "M"}${x(point).toFixed(1)} ${y(point).toFixed(1)}`)
      .join("");
    chart.querySelector(".chart-line").setAttribute("d", line);
    chart
      .querySelector(".chart-area")
      .setAttribute("d", `${line}L${WIDTH} ${HEIGHT}L${x(points[0]).toFixed(1)} ${HEIGHT}Z`);
    chart.classList.toggle("near", limit !== null && newest.value >= limit * NEAR);
    const told = limit === null ? words(newest.value) : `${words(newest.value)} of ${words(limit)}`;
    chart.querySelector(".chart-now").textContent = told;
    chart.querySelector(".chart-top").textContent = words(top);
    chart.querySelector("svg").setAttribute("aria-label", `${name}: ${told}`);
  }

  function fill(name, figures) {
    const row = document.getElementById(`use-${name}`);
    for (const [column, text] of Object.entries(figures)) {
      row.querySelector(`.use-${column}`).textContent = text;
    }
  }

  function show(use) {
    const at = Date.now();
    samples = samples.filter((sample) => at - sample.at <= SHOWN);
    samples.push({ at, memory: use.memory_mib, cpu: use.cpu_seconds });
    const memoryLimit = use.memory_limit_mib ?? null;
    const cpuLimit = use.cpu_limit_millis ?? null;
    draw("memory", samples.map((sample) => ({ at: sample.at, value: sample.memory })), {
      limit: memoryLimit,
      floor: 256,
      words: mebibytes,
    });
    const loads = samples
      .slice(1)
      .map((sample, index) => ({ at: sample.at, value: load(sample, samples[index]) }));
    if (loads.length > 0) {
      draw("cpu", loads, { limit: cpuLimit, floor: 1000, words: cores });
      fill("cpu", { now: cores(loads[loads.length - 1].value) });
    }
    fill("memory", {
      now: mebibytes(use.memory_mib),
      limit: memoryLimit === null ? "–" : mebibytes(memoryLimit),
      most: mebibytes(use.peak_memory_mib),
    });
    fill("cpu", { limit: cpuLimit === null ? "–" : cores(cpuLimit) });
    fill("cpu-time", { now: `${use.cpu_seconds.toFixed(1)} s` });
    fill("processes", { now: String(use.processes) });
    document.getElementById("charts").hidden = false;
    section.hidden = false;
    note.textContent = `As of ${clock.format(at)}`;
  }

  async function look() {
    const state = document.getElementById("live").dataset.state;
    if (document.hidden || asking || state !== "running") {
      if (samples.length > 0 && state !== "running") note.textContent = "It runs no more.";
      return;
    }
    asking = true;
    try {
      const answer = await fetch(section.dataset.use, {
        credentials: "same-origin",
        headers: { Accept: "application/json" },
        cache: "no-store",
      });
      if (answer.ok) show(await answer.json());
      else note.textContent = "It cannot be read at the moment.";
    } catch {
      note.textContent = "It cannot be read at the moment.";
    } finally {
      asking = false;
    }
  }

  if (section) {
    look();
    setInterval(look, PAUSE);
  }
})();
