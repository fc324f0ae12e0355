// Numbers and tables of the pages of runs.

import { make } from "./dom.js";

export const MISSING = "–";
export const fixed = (value) => (value === null ? MISSING : value.toFixed(3));
export const signed = (value) => (value === null ? MISSING
  : `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(3)}`);
export const percent = (value) => `${(100 * value).toFixed(1)} %`;
export const range = (interval, format = fixed) => (
  interval ? `${format(interval[0])} to ${format(interval[1])}` : MISSING);
export const counted = (number, noun) => `${number} ${noun}${number === 1 ? "" : "s"}`;
export const whole = (value) => value ?? MISSING;

export const day = (date) => date.slice(0, 16).replace("T", " ");
export const addressOf = (id, other) => (
  `runs?${new URLSearchParams(other ? { run: id, with: other } : { run: id })}`);

function scrolling(table, label) {
  return make("div", table, {
    class: "scroll", role: "region", tabindex: "0", "aria-label": label,
  });
}

// Rows are lists of cells: numbers, as such or as text, or elements. The first cell is
// a header.
export function table(label, heads, rows) {
  const align = (cell) => (typeof cell === "object" ? {} : { class: "number" });
  const made = make("table", [
    make("thead", make("tr", heads.map((head, index) => (
      make("th", head, { scope: "col",
        ...(index && rows.length ? align(rows[0][index]) : {}) }))))),
    make("tbody", rows.map((cells) => make("tr", cells.map((cell, index) => (
      index ? make("td", cell, align(cell)) : make("th", cell, { scope: "row" })))))),
  ]);
  return scrolling(made, label);
}

export const part = (title, ...content) => (
  make("section", [make("h3", title), ...content.filter(Boolean)]));
