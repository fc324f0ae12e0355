// The list of runs.

import { find, make } from "./dom.js";
import { request } from "./requests.js";
import { MISSING, addressOf, counted, day, fixed, range } from "./runs_tables.js";

const COLUMNS = [
  { title: "Name", value: (run) => run.name },
  ...["accuracy", "uf1", "uar"].map((key, index) => ({
    title: ["Accuracy", "UF1", "UAR"][index], number: true, metric: key,
    value: (run) => run.metrics?.[key].value,
  })),
  { title: "Data sets, protocol", value: (run) => run.datasets,
    below: (run) => run.protocol },
  { title: "Model, input", value: (run) => run.model, below: (run) => run.input },
  { title: "Test clips", value: (run) => run.clips, number: true,
    below: (run) => (run.clips ? `of ${counted(run.subjects, "subject")}` : "") },
  { title: "Started", value: (run) => day(run.started || "").slice(0, 10), newest: true,
    below: (run) => day(run.started || "").slice(11) },
];
const none = (value) => value === undefined || value === null || value === "";

// What a column is sorted by: the second line of its cells decides between equal ones.
function keyOf(column, run) {
  const value = column.value(run);
  return column.number || none(value) ? value : `${value} ${column.below?.(run) ?? ""}`;
}

// Long names of data sets and inputs break behind their separators.
const breakable = (text) => `${text}`.split(/(?<=[_/])/)
  .flatMap((part, index) => (index ? [make("wbr"), part] : [part]));

const intervalOf = ({ interval }) => (interval
  ? range(interval).replace(" to", "\u00a0to") : ""); // it breaks after "to"

const rows = []; // {run, row, box}, in the order of the server
const sorted = { column: null, down: false };

function rowOf(run) {
  const cells = COLUMNS.map((column, index) => {
    const value = column.value(run);
    if (index === 0) {
      const link = make("a", run.name, { href: addressOf(run.id) });
      return make("th", link, { scope: "row", class: "name" });
    }
    const align = column.number || column.newest ? { class: "number" } : {};
    if (none(value)) return make("td", MISSING, align);
    const below = column.metric ? intervalOf(run.metrics[column.metric])
      : breakable(column.below(run) ?? "");
    return make("td", [...breakable(column.metric ? fixed(value) : value),
      make("small", below)], align);
  });
  let box = null;
  const first = make("td");
  if (!run.shipped) {
    box = make("input", "", { type: "checkbox", "aria-label": `Compare ${run.name}` });
    box.addEventListener("change", showChosen);
    first.append(box);
  }
  return { run, box, row: make("tr", [first, ...cells]) };
}

function order(column) {
  if (column) {
    // Large numbers and new runs first, names from A
    const natural = Boolean(column.number || column.newest);
    sorted.down = sorted.column === column ? !sorted.down : natural;
    sorted.column = column;
  }
  const shown = [...rows];
  if (sorted.column) {
    shown.sort((a, b) => {
      const [x, y] = [a, b].map(({ run }) => keyOf(sorted.column, run));
      if (none(x) || none(y)) return none(x) - none(y); // what is missing comes last
      const compared = typeof x === "number" ? x - y
        : x.localeCompare(y, "en", { numeric: true });
      return sorted.down ? -compared : compared;
    });
  }
  find("runs").tBodies[0].append(...shown.map((one) => one.row));
  for (const each of COLUMNS) {
    if (each === sorted.column) {
      each.head.setAttribute("aria-sort", sorted.down ? "descending" : "ascending");
    } else {
      each.head.removeAttribute("aria-sort");
    }
  }
}

function filter() {
  const words = find("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  let count = 0;
  for (const { run, row } of rows) {
    const text = [run.name, run.datasets, run.model, run.input, run.protocol]
      .join(" ").toLowerCase();
    row.hidden = !words.every((word) => text.includes(word));
    if (!row.hidden) count += 1;
  }
  find("shown").textContent = `${count} of ${counted(rows.length, "recogniser")}`;
}

const chosen = () => rows.filter(({ box }) => box?.checked).map(({ run }) => run);

function showChosen() {
  const runs = chosen();
  find("compare").disabled = runs.length !== 2;
  const names = runs.map((run) => run.name).join("; ");
  find("chosen").textContent = runs.length === 2 ? names
    : `Choose two runs to compare.${names ? ` Chosen: ${names}.` : ""}`;
}

export async function showList() {
  const { runs, refused } = await request("api/runs");
  find("runs").tHead.rows[0].append(make("th", "Compare", { scope: "col" }),
    ...COLUMNS.map((column) => {
      const button = make("button", column.title, { type: "button" });
      button.addEventListener("click", () => order(column));
      const align = column.number || column.newest ? { class: "number" } : {};
      column.head = make("th", button, { scope: "col", ...align });
      return column.head;
    }));
  rows.push(...runs.map(rowOf));
  order(null);
  filter(); // a browser may keep what was typed before
  find("filter").addEventListener("input", filter);
  find("compare").addEventListener("click", () => {
    const [a, b] = chosen();
    location.assign(addressOf(a.id, b.id));
  });
  find("no-runs").hidden = rows.some(({ run }) => !run.shipped) || refused.length > 0;
  find("refused").hidden = !refused.length;
  find("refused").querySelector("tbody").append(...refused.map((one) => make("tr", [
    make("th", one.name, { scope: "row", class: "name" }), make("td", one.reason)])));
}
