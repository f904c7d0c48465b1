"use strict";

// Numbers and times as text, and text as elements. What comes from outside is only ever set as
// textContent.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const NONE = "\u2013";

function count(value) {
  return whole.format(value);
}

function compact(value) {
  if (value < 10000) return count(value);
  return new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 }).format(value);
}

function three(value) {
  if (value >= 100) return value.toFixed(0);
  return value >= 10 ? value.toFixed(1) : value.toFixed(2);
}

/** A duration in seconds as number and unit. */
function durationParts(seconds) {
  if (seconds === null || seconds === undefined) return [NONE, ""];
  if (seconds < 0.0009995) return [three(seconds * 1e6).replace(/\.\d+$/, ""), "\u00b5s"];
  if (seconds < 0.9995) return [three(seconds * 1e3), "ms"];
  return [three(seconds), "s"];
}

function duration(seconds) {
  return durationParts(seconds).join("\u00a0").trim();
}

/** A round duration, for an axis. */
function roundDuration(seconds) {
  const [value, unit] = durationParts(seconds);
  return `${Number(value)}\u00a0${unit}`;
}

/** A length of time, told roughly. */
function ago(seconds) {
  if (seconds < 1) return "now";
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds / 60) % 60)} min`;
  return `${Math.floor(seconds / 86400)} d ${Math.floor((seconds / 3600) % 24)} h`;
}

function percent(share) {
  if (share === null || share === undefined || Number.isNaN(share)) return NONE;
  if (share > 0.999 && share < 1) return "> 99.9 %";
  if (share > 0 && share < 0.001) return "< 0.1 %";
  return `${(share * 100).toFixed(1)} %`;
}

function real(value) {
  return value === null || value === undefined ? NONE : value.toFixed(3);
}

function megabytes(bytes) {
  return bytes === null ? NONE : `${(bytes / 1e6).toFixed(bytes < 1e8 ? 1 : 0)} MB`;
}

function clock(seconds, withSeconds) {
  const options = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
  if (withSeconds) options.second = "2-digit";
  return new Date(seconds * 1000).toLocaleTimeString("en", options);
}

function moment(seconds, now) {
  const day = new Date(seconds * 1000);
  if (now - seconds < 43200) return clock(seconds, true);
  return `${day.toLocaleDateString("en", { day: "numeric", month: "short" })} ${clock(seconds, false)}`;
}

function byId(id) {
  return document.getElementById(id);
}

/** Sets a text, and touches nothing if it is that already: a selection of it stays. */
function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

/** Makes `parent` have this many children, made by `make` where they are missing. */
function resize(parent, length, make) {
  while (parent.children.length > length) parent.lastElementChild.remove();
  while (parent.children.length < length) parent.append(make(parent.children.length));
  return parent.children;
}

/**
 * Fills a table's body. A row is a list of cells, the first of which is its heading; a cell is a text
 * or { text, className }. Rows stay in place, so that reading and selecting is not disturbed.
 */
function fillTable(id, rows, nothing) {
  const body = byId(id).tBodies[0];
  const columns = byId(id).tHead.rows[0].cells.length;
  if (rows.length === 0) {
    if (!body.querySelector(".nothing")) {
      const cell = element("td", "nothing", nothing);
      cell.colSpan = columns;
      const row = element("tr");
      row.append(cell);
      body.replaceChildren(row);
    }
    return;
  }
  if (body.querySelector(".nothing")) body.replaceChildren();
  const lines = resize(body, rows.length, () => element("tr"));
  rows.forEach((row, number) => {
    const cells = resize(lines[number], columns, (column) => {
      const cell = element(column === 0 ? "th" : "td");
      if (column === 0) cell.scope = "row";
      return cell;
    });
    row.forEach((cell, column) => {
      const { text, className, key } = typeof cell === "string" ? { text: cell } : cell;
      let place = cells[column];
      place.className = className || "";
      if (key) place = resize(place, 1, () => element("span", "key"))[0];
      setText(place, text);
    });
  });
}
