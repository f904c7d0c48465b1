
// What keeps the page live: the events, the choice of time, light and dark.

/** Events come each second; after this long without one, the connection counts as lost. */
const PATIENCE_MS = 3500;
/** How long to wait before asking again when the browser itself has given up. */
const RETRY_MS = 2000;

let latest = null;
let heard = performance.now();

function chosenSpan() {
  return document.querySelector("input[name=span]:checked").value;
}

function draw() {
  if (!latest || document.hidden) return;
  const [stats, span] = [latest, chosenSpan()];
  setText(byId("checkpoint"), stats.checkpoint || NONE);
  setText(byId("uptime"), ago(Math.max(1, stats.uptime_seconds)));
  setText(byId("memory"), megabytes(stats.memory_bytes));
  setText(byId("version"), stats.version);
  setText(byId("precision"), count(stats.quantile_relative_error * 100));
  document.querySelectorAll(".span-name").forEach((place) => setText(place, SPANS[span]));
  setText(byId("requests-per"), STEPS[stats.history[span].step_seconds] || "");
  drawCards(stats, span);
  drawRequests(byId("requests-chart"), stats.history[span], stats.now);
  drawLatency(byId("latency-chart"), stats.history[span], stats.now);
  drawMix(stats, span);
  drawConfidence(byId("confidence-chart"), stats.windows[span].confidence);
  drawTruths(stats);
  drawModels(stats);
  drawValidators(stats, span);
  drawErrors(stats);
  drawNow(stats);
}

function showState() {
  const body = document.body;
  const isLost = performance.now() - heard > PATIENCE_MS;
  body.dataset.connection = isLost ? "lost" : latest ? "live" : "first";
  body.dataset.ready = latest?.ready ? "yes" : "no";
  byId("lost").hidden = !isLost;
  if (isLost) {
    const since = latest ? `The numbers are of ${clock(latest.now, true)}.` : "";
    setText(byId("lost-since"), since);
    setText(byId("state-text"), "connection lost");
  } else if (latest) {
    setText(byId("state-text"), latest.ready ? "live" : "not ready");
  }
  const trouble = !isLost && latest && !latest.ready;
  byId("trouble").hidden = !trouble;
  if (trouble) setText(byId("trouble"), `The miner cannot answer: ${latest.not_ready}`);
}

function listen() {
  const events = new EventSource("events");
  events.onmessage = (event) => {
    latest = JSON.parse(event.data);
    heard = performance.now();
    showState();
    draw();
  };
  events.onerror = () => {
    // The browser tries again by itself after a broken connection, but not after a refusal.
    if (events.readyState === EventSource.CLOSED) setTimeout(listen, RETRY_MS);
  };
}

function remembered(key, value) {
  // A browser may forbid it; then the choice lasts as long as the page.
  try {
    if (value === undefined) return localStorage.getItem(key);
    localStorage.setItem(key, value);
  } catch { /* nothing to do */ }
  return null;
}

function setTheme(theme) {
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
}

byId("theme").addEventListener("click", () => {
  const chosen = document.documentElement.dataset.theme;
  const isDark = chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  setTheme(isDark ? "light" : "dark");
  remembered("theme", isDark ? "light" : "dark");
});
document.querySelectorAll("input[name=span]").forEach((input) => {
  input.checked = input.value === (remembered("span") || "1h");
  input.addEventListener("change", () => {
    remembered("span", input.value);
    draw();
  });
});
document.addEventListener("visibilitychange", () => {
  // A page in the background hears late; it gets a moment before it calls the connection lost.
  heard = performance.now();
  draw();
});
addEventListener("resize", draw);
setTheme(remembered("theme"));
setInterval(showState, 500);
listen();
