// What comes on top of pages that work without it: local times, counting seconds, live progress,
// search as you type. The server stays the only one that makes HTML: a change is fetched as a page
// and its live part put in place of the old one.
"use strict";

(() => {
  const LAUNCHED = "slipway-launched";
  const LIST_PAUSE = 4000;
  const RETRY_PAUSE = 3000;

  // Browsers that keep nothing for a page throw here; the page then merely does less.
  const memory = {
    get(name) {
      try {
        return sessionStorage.getItem(name);
      } catch {
        return null;
      }
    },
    set(name, value) {
      try {
        sessionStorage.setItem(name, value);
      } catch {
        return;
      }
    },
    remove(name) {
      try {
        sessionStorage.removeItem(name);
      } catch {
        return;
      }
    },
  };

  // Times

  const full = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
  const clock = new Intl.DateTimeFormat(undefined, {
    hour: "2-digit",
    minute: "2-digit",
    second: "2-digit",
  });
  let ahead = 0;

  function localiseTimes(root) {
    for (const element of root.querySelectorAll("time[data-time]")) {
      const at = new Date(element.dateTime);
      element.textContent = (element.dataset.time === "clock" ? clock : full).format(at);
      element.title = at.toLocaleString();
    }
  }

  function two(value) {
    return String(value).padStart(2, "0");
  }

  function duration(milliseconds) {
    const exact = Math.max(milliseconds, 0) / 1000;
    const seconds = Math.floor(exact);
    if (seconds < 60) return `${seconds} s`;
    if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${two(seconds % 60)} s`;
    if (seconds < 86400) {
      return `${Math.floor(seconds / 3600)} h ${two(Math.floor((seconds % 3600) / 60))} min`;
    }
    return `${Math.floor(seconds / 86400)} d ${Math.floor((seconds % 86400) / 3600)} h`;
  }

  function countOn() {
    for (const element of document.querySelectorAll("[data-since]")) {
      element.textContent = duration(Date.now() + ahead - new Date(element.dataset.since));
    }
    for (const element of document.querySelectorAll("[data-until]")) countDown(element);
  }

  // What is left of a wait that has an estimate: as a time, or as a bar.
  function countDown(element) {
    const now = Date.now() + ahead;
    const until = new Date(element.dataset.until).getTime();
    if (element.dataset.from) {
      const from = new Date(element.dataset.from).getTime();
      element.value = until > from ? Math.min(Math.max((now - from) / (until - from), 0), 1) : 1;
      return;
    }
    const late = until - now < 1000;
    element.textContent = late ? element.dataset.late : duration(until - now);
    const words = late && element.parentElement.dataset.lateWords;
    if (words) document.getElementById("wait-words").textContent = words;
  }

  function settle(root) {
    // The server's clock counts, however wrong the one of this computer is.
    const now = root.dataset.now;
    if (now) ahead = new Date(now) - Date.now();
    localiseTimes(root);
    countOn();
  }

  // The live part of a page

  function replace(fresh) {
    const old = document.getElementById("live");
    const open = [...old.querySelectorAll("details[open][id]")].map((details) => details.id);
    const focused = old.contains(document.activeElement) ? document.activeElement.id : "";
    const log = old.querySelector("pre.log");
    const bottom = log !== null && log.scrollHeight - log.scrollTop - log.clientHeight < 40;
    const top = log === null ? 0 : log.scrollTop;
    old.replaceWith(fresh);
    for (const id of open) {
      const details = document.getElementById(id);
      if (details) details.open = true;
    }
    if (focused) {
      const element = document.getElementById(focused) || document.getElementById("main");
      element.focus({ preventScroll: true });
    }
    const newLog = fresh.querySelector("pre.log");
    if (newLog) newLog.scrollTop = bottom ? newLog.scrollHeight : top;
    settle(fresh);
    if (fresh.dataset.title) document.title = fresh.dataset.title;
    if (fresh.dataset.summary && fresh.dataset.summary !== old.dataset.summary) {
      document.getElementById("announce").textContent = fresh.dataset.summary;
    }
  }

  let fetching = false;
  let stale = false;

  async function refresh() {
    if (fetching) {
      stale = true;
      return;
    }
    fetching = true;
    try {
      do {
        stale = false;
        const answer = await fetch(location.href, {
          credentials: "same-origin",
          headers: { Accept: "text/html" },
          cache: "no-store",
        });
        if (answer.redirected) {
          location.reload();
          return;
        }
        if (!answer.ok) return;
        const page = new DOMParser().parseFromString(await answer.text(), "text/html");
        const fresh = page.getElementById("live");
        if (fresh) replace(document.importNode(fresh, true));
      } while (stale);
    } catch {
      // No network just now: the next event or the next round tries again.
    } finally {
      fetching = false;
    }
  }

  function busy() {
    const live = document.getElementById("live");
    return document.hidden || live.querySelector("details[open]") !== null;
  }

  function followList() {
    setInterval(() => {
      if (document.getElementById("live").dataset.over === "no" && !busy()) refresh();
    }, LIST_PAUSE);
  }

  function openOnce(id) {
    const name = `slipway-opens-${id}`;
    const form = document.getElementById("open");
    if (!form || memory.get(name) === null) return;
    memory.remove(name);
    form.requestSubmit();
  }

  function followSession(launched) {
    const live = document.getElementById("live");
    const id = live.dataset.id;
    if (launched && live.dataset.over === "no") memory.set(`slipway-opens-${id}`, "yes");
    openOnce(id);
    if (live.dataset.over === "yes") return;

    const events = new EventSource(live.dataset.events);
    const look = async () => {
      await refresh();
      openOnce(id);
      if (document.getElementById("live").dataset.over === "yes") events.close();
    };
    events.addEventListener("session", look);
    events.addEventListener("problem", look);
    // Refused for good, or unknown to this browser's network: ask at intervals instead.
    setInterval(() => {
      const over = document.getElementById("live").dataset.over === "yes";
      if (events.readyState === EventSource.CLOSED && !over && !document.hidden) look();
    }, RETRY_PAUSE);
  }

  // Forms

  function followForms() {
    document.addEventListener("submit", (event) => {
      const form = event.target;
      if (form.matches("[data-launch]")) memory.set(LAUNCHED, "yes");
      if (form.method !== "post") return;
      // Sent twice it would do no harm; but whoever clicked should see that it was heard.
      for (const button of form.querySelectorAll("button")) {
        button.setAttribute("aria-disabled", "true");
      }
    });
    document.addEventListener("click", (event) => {
      const button = event.target.closest("[data-copy]");
      if (button) copy(button);
      for (const details of document.querySelectorAll("details.menu[open], details.confirm[open]")) {
        if (!details.contains(event.target)) details.open = false;
      }
    });
    document.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      for (const details of document.querySelectorAll("details.menu[open], details.confirm[open]")) {
        details.open = false;
        details.querySelector("summary").focus();
      }
    });
  }

  async function copy(button) {
    const field = document.getElementById(button.dataset.copy);
    field.select();
    try {
      await navigator.clipboard.writeText(field.value);
    } catch {
      // Without TLS there is no clipboard to write to; the old command still works there.
      document.execCommand("copy");
    }
    button.textContent = "Copied";
    document.getElementById("announce").textContent = "The key was copied";
  }

  // Search

  function filter(words) {
    const wanted = words.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const category of document.querySelectorAll("[data-category]")) {
      let some = false;
      for (const tile of category.querySelectorAll("[data-text]")) {
        tile.hidden = !wanted.every((word) => tile.dataset.text.includes(word));
        if (!tile.hidden) {
          some = true;
          shown += 1;
        }
      }
      category.hidden = !some;
    }
    document.getElementById("nothing").hidden = shown > 0;
    document.getElementById("announce").textContent = shown === 1 ? "1 app" : `${shown} apps`;
  }

  const search = document.querySelector("[data-filter] input");
  if (search && document.querySelector("[data-category]")) {
    search.addEventListener("input", () => filter(search.value));
  }

  const launched = memory.get(LAUNCHED) !== null;
  memory.remove(LAUNCHED);
  settle(document.getElementById("live") || document.body);
  setInterval(countOn, 1000);
  followForms();
  for (const button of document.querySelectorAll("[data-copy]")) button.hidden = false;
  for (const log of document.querySelectorAll("pre.log")) log.scrollTop = log.scrollHeight;

  const live = document.getElementById("live");
  if (live && live.dataset.live === "session") followSession(launched);
  if (live && live.dataset.live === "list") followList();

  // A page that the browser kept shows what was; its forms hold keys that are used up.
  addEventListener("pageshow", (event) => {
    if (event.persisted) location.reload();
  });
})();
