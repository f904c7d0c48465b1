
// The parts of the page, each drawn from the numbers and the time that is shown.

const SPANS = { "1m": "last minute", "1h": "last hour", "24h": "last 24 hours" };
const STEPS = { 1: "per second", 60: "per minute", 900: "per 15 minutes" };

const OUTCOMES = {
  answered: "answered",
  malformed: "malformed",
  unverified: "unverified",
  forbidden: "forbidden",
  unknown: "unknown",
  late: "too late",
  too_large: "too large",
  limited: "rate limited",
  failed: "failed",
  overloaded: "overloaded",
};

function drawCards(stats, span) {
  const found = stats.windows[span];
  const times = found.response_seconds;
  const seconds = Math.min(found.seconds, Math.max(stats.uptime_seconds, 1));
  const rate = found.requests / seconds;
  const answered = found.outcomes.answered;
  const cards = [
    ["Requests", rate < 9.995 ? rate.toFixed(2) : compact(rate), "/s", `${count(found.requests)} in the ${SPANS[span]}`],
    ["Answered", found.requests === 0 ? NONE : percent(answered / found.requests), "", `${count(found.requests - answered)} not answered`],
    ["Median time", ...durationParts(times?.p50), times ? `mean ${duration(times.avg)}` : "no answers yet"],
    ["99th percentile", ...durationParts(times?.p99), times ? `p90 ${duration(times.p90)}, max ${duration(times.max)}` : "no answers yet"],
    ["Says it converts", percent(found.positive_rate), "", "of the answers"],
    ["Mean confidence", real(found.mean_confidence), "", "of the answers"],
  ];
  const places = resize(byId("cards"), cards.length, () => {
    const card = element("article", "card");
    const value = element("p", "value");
    value.append(element("span"), element("small"));
    card.append(element("h2"), value, element("p", "remark"));
    return card;
  });
  cards.forEach(([name, value, unit, remark], number) => {
    const card = places[number];
    setText(card.querySelector("h2"), name);
    setText(card.querySelector("span"), value);
    setText(card.querySelector("small"), unit);
    setText(card.querySelector(".remark"), remark);
  });
}

function drawMix(stats, span) {
  const found = stats.windows[span];
  const answers = found.confidence.reduce((sum, value) => sum + value, 0);
  const positive = Math.round((found.positive_rate || 0) * answers);
  const classes = byId("classes");
  if (!classes.firstChild) {
    const split = element("div", "split");
    split.append(element("i", "s3"), element("i", "s1"));
    const sides = element("div", "sides");
    for (const series of ["s3", "s1"]) {
      const side = element("span", series);
      side.append(element("i"), element("span"));
      sides.append(side);
    }
    classes.append(split, sides);
  }
  const [left, right] = classes.querySelectorAll(".split i");
  left.style.flexGrow = positive;
  right.style.flexGrow = answers - positive;
  const [yes, no] = classes.querySelectorAll(".sides span > span");
  setText(yes, `converts: ${count(positive)}`);
  setText(no, `does not: ${count(answers - positive)}`);

  const outcomes = Object.entries(found.outcomes);
  const places = resize(byId("outcomes"), outcomes.length, () => {
    const row = element("div", "outcome");
    const track = element("span", "track");
    track.append(element("i"));
    row.append(element("span"), track, element("span", "number"), element("span", "share"));
    return row;
  });
  outcomes.forEach(([name, value], number) => {
    const row = places[number];
    row.className = `outcome ${name === "answered" ? "s1" : "s2"} ${value === 0 ? "none" : ""}`;
    setText(row.children[0], OUTCOMES[name] || name);
    const share = found.requests === 0 ? 0 : value / found.requests;
    row.children[1].firstChild.style.width = `${value === 0 ? 0 : Math.max(1, share * 100)}%`;
    setText(row.children[2], compact(value));
    setText(row.children[3], value === 0 ? "" : percent(share));
  });
}

function drawModels(stats) {
  fillTable("models", stats.models.map((model) => [
    model.name,
    model.healthy ? { text: "healthy", className: "good" } : { text: "unhealthy", className: "bad" },
    count(model.requests),
    { text: count(model.failures), className: model.failures > 0 ? "bad" : "" },
    percent(model.requests === 0 ? null : 1 - model.failures / model.requests),
    duration(model.requests === 0 ? null : model.mean_seconds),
    duration(model.requests === 0 ? null : model.p99_seconds),
    real(model.requests === 0 ? null : model.mean_confidence),
    real(model.mean_reward),
  ]), "no models are loaded");
}

function drawValidators(stats, span) {
  const busiest = stats.validators.toSorted((left, right) => right.windows[span].requests - left.windows[span].requests);
  fillTable("validators", busiest.map((validator) => {
    const found = validator.windows[span];
    const times = found.response_seconds;
    const silent = ago(validator.silent_seconds);
    return [
      { text: validator.hotkey, key: true },
      count(found.requests),
      percent(found.requests === 0 ? null : found.outcomes.answered / found.requests),
      duration(times?.p50),
      duration(times?.p90),
      duration(times?.p99),
      real(found.mean_confidence),
      percent(found.positive_rate),
      silent === "now" ? silent : `${silent} ago`,
    ];
  }), "nobody has called yet");
}

function drawErrors(stats) {
  fillTable("errors", stats.errors.map((error) => [
    moment(error.last, stats.now),
    count(error.count),
    { text: OUTCOMES[error.outcome] || error.outcome, className: error.outcome === "failed" ? "bad" : "" },
    { text: error.reason, className: "reason" },
  ]), "every request was answered");
  fillTable("reloads", stats.reloads.map((reload) => [
    reload.what,
    count(reload.ok),
    { text: count(reload.refused), className: reload.refused > 0 ? "bad" : "" },
    moment(reload.last, stats.now),
    { text: reload.refusal || NONE, className: "reason" },
  ]), "nothing was reloaded since the start");
}

function drawNow(stats) {
  const facts = [
    ["Requests since the start", count(stats.total.requests)],
    ["Requests that wait", count(stats.queue_depth)],
    ["Requests at work", count(stats.at_work)],
    ["Open connections", count(stats.connections)],
    ["Nonces remembered", count(stats.nonces)],
    ["Registered hotkeys", stats.registered === null ? "no metagraph" : count(stats.registered)],
  ];
  const places = resize(byId("now"), facts.length * 2, (at) => element(at % 2 === 0 ? "dt" : "dd"));
  facts.flat().forEach((text, number) => setText(places[number], text));
}

/** How confidences came true, and what was earned; there is nothing to draw before a truth is known. */
function drawTruths(stats) {
  const truths = stats.truths;
  if (!truths || truths.known === 0) return;
  const panel = byId("truths");
  if (!panel.querySelector(".truths")) {
    const pair = element("div", "truths");
    for (const id of ["reliability", "reward"]) {
      const part = element("div");
      const chart = element("div", "chart");
      chart.id = `${id}-chart`;
      const heading = element("h3");
      heading.id = `${id}-title`;
      part.append(heading, chart);
      pair.append(part);
    }
    panel.replaceChildren(pair);
  }
  setText(byId("reliability-title"), `How often each confidence came true, of ${count(truths.known)} answers`);
  setText(byId("reward-title"), `Reward: ${real(truths.mean_reward)} a request`);
  drawReliability(byId("reliability-chart"), truths.reliability);
  drawReward(byId("reward-chart"), truths.rewards, stats.now);
}

function drawReliability(host, parts) {
  const texts = parts.map((part) => `${percent(part.mean_confidence)} came true in ${percent(part.converted_rate)}`);
  const area = canvas(host, `Reliability. ${texts.join(", ")}.`);
  const x = (value) => area.left + (area.right - area.left) * value;
  const y = (value) => area.bottom - (area.bottom - area.top) * value;
  rows(area, [0, 0.25, 0.5, 0.75, 1], y, (tick) => `${tick * 100} %`);
  for (const tick of [0, 0.5, 1]) {
    const side = tick === 0 ? "" : tick === 1 ? "end" : "middle";
    svg(area.drawing, "text", { class: side, x: x(tick), y: area.bottom + 16 }, `${tick * 100} % sure`);
  }
  svg(area.drawing, "line", { class: "ideal", x1: x(0), y1: y(0), x2: x(1), y2: y(1) });
  const points = parts.map((part) => `${x(part.mean_confidence)},${y(part.converted_rate)}`);
  svg(area.drawing, "polyline", { class: "line s3", points: points.join(" ") });
  const most = Math.max(1, ...parts.map((part) => part.count));
  for (const part of parts) {
    const r = 2.5 + 4 * Math.sqrt(part.count / most);
    svg(area.drawing, "circle", { class: "point s3", cx: x(part.mean_confidence), cy: y(part.converted_rate), r });
  }
}

function drawReward(host, points, now) {
  const area = canvas(host, `Reward over time: ${points.map((point) => real(point.mean_reward)).join(", ")}.`);
  const y = (value) => area.bottom - (area.bottom - area.top) * Math.min(1, Math.max(0, value));
  rows(area, [0, 0.25, 0.5, 0.75, 1], y, (tick) => tick.toFixed(2));
  sayEmpty(host, points.length === 0 ? "not known yet" : "");
  if (points.length === 0) return;
  const [first, last] = [points[0].time, Math.max(points[points.length - 1].time, points[0].time + 1)];
  const x = (time) => area.left + ((area.right - area.left) * (time - first)) / (last - first);
  const line = points.map((point) => `${x(point.time).toFixed(2)},${y(point.mean_reward).toFixed(2)}`);
  svg(area.drawing, "polyline", { class: "line s4", points: line.join(" ") });
  // A line of one point cannot be seen.
  if (points.length === 1) svg(area.drawing, "circle", { class: "point s4", cx: x(first), cy: y(points[0].mean_reward), r: 4 });
  svg(area.drawing, "text", { x: area.left, y: area.bottom + 16 }, moment(first, now));
  svg(area.drawing, "text", { class: "end", x: area.right, y: area.bottom + 16 }, moment(last, now));
}
