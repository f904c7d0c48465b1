
// Charts as SVG, drawn anew at the width that there is.

const SVG = "http://www.w3.org/2000/svg";
const MARGIN = { left: 46, right: 8, top: 8, bottom: 22 };
const HEIGHT = 200;
/** Of the chart beside the list of outcomes. */
const TALL = 268;

function svg(parent, name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  parent.append(made);
  return made;
}

/** An empty drawing in `host`, with its inner measures. */
function canvas(host, label, height = HEIGHT) {
  const width = Math.max(host.clientWidth, 200);
  let drawing = host.querySelector("svg");
  if (!drawing) drawing = svg(host, "svg", { role: "img" });
  drawing.replaceChildren();
  drawing.setAttribute("width", width);
  drawing.setAttribute("height", height);
  drawing.setAttribute("viewBox", `0 0 ${width} ${height}`);
  drawing.setAttribute("aria-label", label);
  return {
    drawing,
    left: MARGIN.left,
    right: width - MARGIN.right,
    top: MARGIN.top,
    bottom: height - MARGIN.bottom,
  };
}

/** Says that there is nothing to draw, or stops saying it. */
function sayEmpty(host, text) {
  let note = host.querySelector(".empty");
  if (!text) {
    if (note) note.remove();
    return;
  }
  if (!note) {
    note = element("div", "empty");
    host.append(note);
  }
  setText(note, text);
}

/** Round numbers from 0 to at least `most`: about four steps. */
function linearTicks(most) {
  const raw = Math.max(most, 1) / 4;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = Math.max(1, [1, 2, 5, 10].map((one) => one * power).find((one) => one >= raw));
  const ticks = [0];
  while (ticks[ticks.length - 1] < most) ticks.push(ticks[ticks.length - 1] + step);
  if (ticks.length === 1) ticks.push(step);
  return ticks;
}

/** 1, 2 and 5 times powers of ten around the numbers. */
function logarithmicTicks(least, most) {
  const ticks = [];
  for (let power = Math.floor(Math.log10(least)) - 1; power <= Math.ceil(Math.log10(most)); power++) {
    [1, 2, 5].forEach((factor) => ticks.push(factor * 10 ** power));
  }
  const first = ticks.findLastIndex((tick) => tick <= least * 1.0001);
  const last = ticks.findIndex((tick) => tick >= most * 0.9999);
  return ticks.slice(first, Math.max(last, first + 1) + 1);
}

/** All of them if they are few, or else the powers of ten among them. */
function shownTicks(ticks) {
  const isPower = (tick) => Math.abs(Math.log10(tick) - Math.round(Math.log10(tick))) < 1e-9;
  return ticks.length > 7 ? ticks.filter(isPower) : ticks;
}

function rows(area, ticks, y, format) {
  for (const tick of ticks) {
    const at = Math.round(y(tick)) + 0.5;
    svg(area.drawing, "line", { class: "gridline", x1: area.left, x2: area.right, y1: at, y2: at });
    svg(area.drawing, "text", { class: "end", x: area.left - 7, y: at + 4 }, format(tick));
  }
}

/** The times below a chart: 5 of them on a wide one, 3 on a narrow one. */
function timeAxis(area, history, length, now) {
  const parts = area.right - area.left > 380 ? 4 : 2;
  for (let part = 0; part <= parts; part++) {
    const x = area.left + ((area.right - area.left) * part) / parts;
    const back = length * history.step_seconds * (1 - part / parts);
    const text = part === parts ? "now" : history.step_seconds === 1 ? `${back} s ago` : clock(now - back);
    const side = part === 0 ? "" : part === parts ? "end" : "middle";
    svg(area.drawing, "text", { class: side, x, y: area.bottom + 16 }, text);
  }
}

/** Shows what is known of the step under the pointer. */
function followPointer(host, describe) {
  host.describe = describe;
  if (host.tip) {
    if (!host.tip.hidden && host.at !== undefined) showTip(host, host.at);
    return;
  }
  host.tip = element("div", "tip");
  host.tip.hidden = true;
  host.append(host.tip);
  host.addEventListener("pointermove", (event) => {
    host.at = event.clientX - host.getBoundingClientRect().left;
    showTip(host, host.at);
  });
  host.addEventListener("pointerleave", () => {
    host.at = undefined;
    host.tip.hidden = true;
    host.querySelector(".cursor")?.remove();
  });
}

function showTip(host, at) {
  const found = host.describe(at);
  host.querySelector(".cursor")?.remove();
  host.tip.hidden = !found;
  if (!found) return;
  setText(host.tip, found.text);
  const x = Math.round(found.x) + 0.5;
  const drawing = host.querySelector("svg");
  const bottom = drawing.getAttribute("height") - MARGIN.bottom;
  svg(drawing, "line", { class: "cursor", x1: x, x2: x, y1: MARGIN.top, y2: bottom });
  const space = host.clientWidth - host.tip.offsetWidth;
  host.tip.style.left = `${Math.max(0, Math.min(space, found.x - host.tip.offsetWidth / 2))}px`;
}

/** Which step of a history lies at `x`. */
function stepAt(area, length, x) {
  if (x < area.left || x > area.right) return null;
  return Math.min(length - 1, Math.floor(((x - area.left) / (area.right - area.left)) * length));
}

function stepTime(history, length, step, now) {
  const back = (length - 1 - step) * history.step_seconds;
  if (history.step_seconds === 1) return back === 0 ? "now" : `${back} s ago`;
  return step === length - 1 ? `since ${clock(now - (now % history.step_seconds))}` : clock(now - (now % history.step_seconds) - back);
}

/** Bars of answered requests, and of the others on top. */
function drawRequests(host, history, now) {
  const { answered, refused } = history;
  const length = answered.length;
  const sums = answered.map((value, step) => value + refused[step]);
  const all = sums.reduce((sum, value) => sum + value, 0);
  const area = canvas(host, `Requests over time: ${count(all)} in all, at most ${count(Math.max(...sums))} in a step.`);
  const ticks = linearTicks(Math.max(...sums));
  const y = (value) => area.bottom - ((area.bottom - area.top) * value) / ticks[ticks.length - 1];
  rows(area, ticks, y, compact);
  const wide = (area.right - area.left) / length;
  const bar = (step, from, to, series) => {
    if (to <= from) return;
    const unfinished = step === length - 1 ? " unfinished" : "";
    const height = Math.max(1, y(from) - y(to));
    svg(area.drawing, "rect", {
      class: `bar ${series}${unfinished}`,
      x: (area.left + step * wide + wide * 0.1).toFixed(2),
      width: (wide * 0.8).toFixed(2),
      y: (y(from) - height).toFixed(2),
      height: height.toFixed(2),
      rx: Math.min(1.5, wide * 0.2),
    });
  };
  for (let step = 0; step < length; step++) {
    bar(step, 0, answered[step], "s1");
    bar(step, answered[step], sums[step], "s2");
  }
  timeAxis(area, history, length, now);
  sayEmpty(host, all === 0 ? "no requests in this time" : "");
  followPointer(host, (x) => {
    const step = stepAt(area, length, x);
    if (step === null) return null;
    const text = `${stepTime(history, length, step, now)}\n${count(answered[step])} answered\n${count(refused[step])} not answered`;
    return { x: area.left + (step + 0.5) * wide, text };
  });
}

/** The pieces of a line between which nothing is known. */
function pieces(values) {
  const found = [];
  let open = null;
  values.forEach((value, step) => {
    if (value === null) {
      open = null;
    } else if (open) {
      open.push([step, value]);
    } else {
      open = [[step, value]];
      found.push(open);
    }
  });
  return found;
}

/** Lines of the median and the 99th percentile. */
function drawLatency(host, history, now) {
  const { p50, p99 } = history;
  const length = p50.length;
  const known = p50.concat(p99).filter((value) => value !== null);
  const latest = p99.findLastIndex((value) => value !== null);
  const label = known.length === 0
    ? "Response time: nothing was answered."
    : `Response time: median ${duration(p50[latest])}, 99th percentile ${duration(p99[latest])} in the latest step.`;
  const area = canvas(host, label);
  const ticks = known.length === 0 ? [0.0001, 0.001, 0.01] : logarithmicTicks(Math.min(...known), Math.max(...known));
  const [low, high] = [Math.log(ticks[0]), Math.log(ticks[ticks.length - 1])];
  const y = (value) => area.bottom - ((area.bottom - area.top) * (Math.log(value) - low)) / (high - low);
  const wide = (area.right - area.left) / length;
  const x = (step) => area.left + (step + 0.5) * wide;
  rows(area, shownTicks(ticks), y, roundDuration);
  const at = ([step, value]) => `${x(step).toFixed(2)},${y(value).toFixed(2)}`;
  for (const piece of pieces(p50)) {
    if (piece.length < 2) continue;
    const back = piece.map(([step]) => [step, p99[step]]).reverse();
    svg(area.drawing, "polygon", { class: "between", points: piece.concat(back).map(at).join(" ") });
  }
  for (const [values, series] of [[p99, "s4"], [p50, "s1"]]) {
    for (const piece of pieces(values)) {
      if (piece.length === 1) {
        svg(area.drawing, "circle", { class: `point ${series}`, cx: x(piece[0][0]), cy: y(piece[0][1]), r: 2.5 });
      } else {
        svg(area.drawing, "polyline", { class: `line ${series}`, points: piece.map(at).join(" ") });
      }
    }
  }
  timeAxis(area, history, length, now);
  sayEmpty(host, known.length === 0 ? "nothing was answered in this time" : "");
  followPointer(host, (pointer) => {
    const step = stepAt(area, length, pointer);
    if (step === null) return null;
    const text = `${stepTime(history, length, step, now)}\nmedian ${duration(p50[step])}\np99 ${duration(p99[step])}`;
    return { x: x(step), text };
  });
}

/** Bars of how many answers had which confidence. */
function drawConfidence(host, parts) {
  const all = parts.reduce((sum, value) => sum + value, 0);
  const shares = parts.map((value, part) => `${part / 10} to ${(part + 1) / 10}: ${count(value)}`);
  const area = canvas(host, `Answers by confidence. ${shares.join(", ")}.`, TALL);
  const ticks = linearTicks(Math.max(...parts));
  const y = (value) => area.bottom - ((area.bottom - area.top) * value) / ticks[ticks.length - 1];
  const wide = (area.right - area.left) / parts.length;
  rows(area, ticks, y, compact);
  parts.forEach((value, part) => {
    const height = value === 0 ? 0 : Math.max(1, area.bottom - y(value));
    const x = area.left + part * wide + 1.5;
    svg(area.drawing, "rect", { class: "bar s3", x, width: wide - 3, y: area.bottom - height, height, rx: 2 });
  });
  for (let part = 0; part <= 10; part += 2) {
    const side = part === 10 ? "end" : "middle";
    svg(area.drawing, "text", { class: side, x: area.left + part * wide, y: area.bottom + 16 }, (part / 10).toFixed(1));
  }
  sayEmpty(host, all === 0 ? "no answers in this time" : "");
  followPointer(host, (pointer) => {
    const part = stepAt(area, parts.length, pointer);
    if (part === null) return null;
    const text = `${part / 10} to ${(part + 1) / 10}\n${count(parts[part])} answers, ${percent(parts[part] / all)}`;
    return { x: area.left + (part + 0.5) * wide, text };
  });
}
