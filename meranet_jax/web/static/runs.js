// The page of runs: a list, one run (runs?run=ID), or two compared
// (runs?run=ID&with=ID).

const find = (id) => document.getElementById(id);

async function request(path) {
  let answer;
  try {
    answer = await fetch(path);
  } catch {
    throw new Error("The server cannot be reached. Is it still running?");
  }
  if (!answer.ok) {
    const said = await answer.json().catch(() => ({}));
    throw new Error(said.error || `The server answered ${answer.status}.`);
  }
  return answer.json();
}

function complain(error) {
  find("message").textContent = error.message;
  find("loading").hidden = true;
}

function make(name, content = "", attributes = {}) {
  const element = document.createElement(name);
  // Text or elements; never markup
  element.append(...[content].flat());
  for (const [key, value] of Object.entries(attributes)) {
    element.setAttribute(key, value);
  }
  return element;
}

// Numbers

const MISSING = "–";
const fixed = (value) => (value === null ? MISSING : value.toFixed(3));
const signed = (value) => (value === null ? MISSING
  : `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(3)}`);
const percent = (value) => `${(100 * value).toFixed(1)} %`;
const range = (interval, format = fixed) => (
  interval ? `${format(interval[0])} to ${format(interval[1])}` : MISSING);
const counted = (number, noun) => `${number} ${noun}${number === 1 ? "" : "s"}`;
const whole = (value) => (value === null || value === undefined ? MISSING : value);

const day = (date) => date.slice(0, 16).replace("T", " ");
const addressOf = (id, other) => (
  `runs?${new URLSearchParams(other ? { run: id, with: other } : { run: id })}`);

// Tables

function scrolling(table, label) {
  return make("div", table, {
    class: "scroll", role: "region", tabindex: "0", "aria-label": label,
  });
}

// Rows are lists of cells: numbers, as such or as text, or elements. The first cell is
// a header.
function table(label, heads, rows) {
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

const part = (title, ...content) => (
  make("section", [make("h3", title), ...content.filter(Boolean)]));

// The list

const COLUMNS = [
  { title: "Name", value: (run) => run.name },
  ...["accuracy", "uf1", "uar"].map((key, index) => ({
    title: ["Accuracy", "UF1", "UAR"][index], number: true, metric: key,
    value: (run) => run.metrics?.[key].value,
  })),
  { title: "Data sets", value: (run) => run.datasets },
  { title: "Model", value: (run) => run.model },
  { title: "Input", value: (run) => run.input },
  { title: "Protocol", value: (run) => run.protocol },
  { title: "Clips", value: (run) => run.clips, number: true },
  { title: "Subjects", value: (run) => run.subjects, number: true },
  { title: "Started", value: (run) => run.started, newest: true },
];
const none = (value) => value === undefined || value === null || value === "";

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
    if (!column.metric) {
      return make("td", `${column.newest ? day(value) : value}`, align);
    }
    const { interval } = run.metrics[column.metric];
    return make("td", [fixed(value),
      interval ? make("small", range(interval)) : ""], { class: "number" });
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
    const { value } = sorted.column;
    shown.sort((a, b) => {
      const [x, y] = [value(a.run), value(b.run)];
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

async function showList() {
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
  show("list");
}

// One run

const metricsTable = (metrics) => table("Results",
  ["Metric", "Value", "95 % interval", "SD over seeds"],
  metrics.map((one) => [one.title, fixed(one.value), range(one.interval),
    fixed(one.sd)]));

const classTable = ({ by_class: classes }) => table("Results by class",
  ["Class", "Predictions", "Precision", "Recall", "F1"],
  classes.map((one) => [one.name, one.predictions, fixed(one.precision),
    fixed(one.recall), fixed(one.f1)]));

function confusionTable({ by_class: classes, confusion }) {
  const names = classes.map((one) => one.name);
  const label = "Confusion matrix: rows are true classes, columns predicted ones";
  const made = table(label, ["True \\ predicted", ...names],
    confusion.map((counts, index) => {
      const total = classes[index].predictions;
      return [names[index], ...counts.map((count) => {
        const share = total ? count / total : 0;
        const cell = make("span", [`${count}`,
          make("small", total ? percent(share) : "")], { class: "share" });
        cell.style.setProperty("--share", `${Math.round(35 * share)}%`);
        return cell;
      })];
    }));
  made.classList.add("confusion");
  return made;
}

function figureOf(id, { name, title }) {
  const address = `api/runs/${id}/pictures/${name}.png`;
  const image = make("img", "", { src: address, alt: title, loading: "lazy" });
  return make("figure", [
    make("a", image, { href: address }), make("figcaption", title)]);
}

function calibrationPart(found, generated) {
  const sets = found.coverage === null || found.set_size === null
    ? "Not measured: this needs at least two people."
    : `The plausible classes have the true class of ${percent(found.coverage)} of the `
      + `clips of people that were left out (${percent(1 - found.miss)} wanted). `
      + `${found.set_size.toFixed(2)} of ${found.classes} classes are plausible on `
      + "average.";
  const people = generated ? "generated face" : "person";
  const whom = found.subjects === 1 ? `1 ${people}`
    : `${found.subjects} ${generated ? "generated faces" : "people"}`;
  const lines = [sets, `Made from ${counted(found.clips, "prediction")} of ${whom} `
    + `(${found.made_from}).`];
  if (found.ece[0] !== null) {
    lines.push(`Expected calibration error: ${fixed(found.ece[0])} before, `
      + `${found.ece[1] === null ? "not measured" : fixed(found.ece[1])} after. `
      + `Temperature: ${fixed(found.temperature)}.`);
  }
  if (found.people_needed !== null && found.subjects < found.people_needed) {
    lines.push("All classes are plausible, since there are too few people: at least "
      + `${found.people_needed} are needed.`);
  }
  if (!found.new_people) {
    lines.push("The recogniser may have been trained on the same people. On new people "
      + "it is less accurate, and the plausible classes have the true class less "
      + "often.");
  }
  lines.push(found.limits);
  return part("Calibration", ...lines.map((line) => make("p", line)));
}

function settingsPart(settings) {
  return make("details", [make("summary", make("h3", "Settings")),
    table("Settings", ["Setting", "Value"],
      settings.map(([name, value]) => [name, make("code", value)]))]);
}

function factsOf(facts) {
  const lines = [
    ["Data sets", facts.datasets], ["Model", facts.model], ["Input", facts.input],
    ["Protocol", facts.protocol],
    ["Test clips", `${facts.clips} of ${counted(facts.subjects, "subject")}`],
    ["Folds", whole(facts.folds)], ["Seeds", whole(facts.seeds)],
    ["Started", day(facts.started) || MISSING],
  ];
  return make("dl", lines.map(([name, value]) => make("div", [
    make("dt", name), make("dd", `${value || MISSING}`)])), { class: "facts" });
}

async function otherRuns(id) {
  const { runs } = await request("api/runs");
  const others = runs.filter((run) => run.id !== id && !run.shipped);
  if (!others.length) return "";
  const select = make("select", others.map((run) => (
    make("option", run.name, { value: run.id }))), { id: "other" });
  const button = make("button", "Compare", { type: "button" });
  button.addEventListener("click", () => location.assign(addressOf(id, select.value)));
  return make("p", [make("label", "Compare with", { for: "other" }), select, button],
    { class: "field" });
}

async function showRun(id) {
  const run = await request(`api/runs/${encodeURIComponent(id)}`);
  document.title = `${run.name} – Runs`;
  find("run-title").textContent = run.name;
  const parts = run.problems.map((text) => make("p", text, { class: "caution" }));
  const calibration = run.calibration && calibrationPart(run.calibration, run.shipped);
  if (run.shipped) {
    const card = run.card.split("\n").filter(Boolean);
    parts.push(part("Model card", ...card.map((line) => make("p", line))), calibration);
  } else {
    const confusion = run.pictures.find((one) => one.name === "confusion");
    const others = run.pictures.filter((one) => one !== confusion);
    const seeds = run.facts.seeds > 1
      ? "Numbers are means over seeds. Tables by class are of all seeds together." : "";
    parts.push(factsOf(run.facts),
      make("div", run.limits.map((line) => make("p", line)), { class: "caution" }),
      await otherRuns(id),
      part("Results", metricsTable(run.metrics), seeds && make("p", seeds)));
    if (run.classes) {
      parts.push(part("Classes", classTable(run.classes)));
      parts.push(part("Confusion matrix", make("div", [make("div", [
        make("p", "Rows are true classes, columns predicted ones. Percentages are of "
          + "the true class."), confusionTable(run.classes)]),
      confusion ? figureOf(id, confusion) : ""], { class: "pair" })));
    } else if (confusion) {
      others.unshift(confusion);
    }
    if (others.length) {
      parts.push(part("Figures",
        make("div", others.map((one) => figureOf(id, one)), { class: "figures" })));
    }
    parts.push(calibration || part("Calibration", make("p", "This run has none that "
      + "can be used. eval.py --run=RUN --calibrate makes one.")));
    if (run.report !== null) {
      const report = make("div", markdown(run.report), { class: "report" });
      parts.push(part("Report", report));
    }
    parts.push(settingsPart(run.settings));
  }
  find("run-parts").append(...parts.filter(Boolean));
  show("run");
}

// Markdown of reports: headings, paragraphs, lists, tables and code. Other text is
// shown as it is. Pictures are left out: the page shows them above the report.

function inline(text) {
  const found = [];
  for (const piece of text.split(/(`[^`]+`|\*\*[^*]+\*\*)/)) {
    if (/^`[^`]+`$/.test(piece)) found.push(make("code", piece.slice(1, -1)));
    else if (/^\*\*.+\*\*$/.test(piece)) found.push(make("strong", piece.slice(2, -2)));
    else if (piece) found.push(piece);
  }
  return found;
}

// Cells end at bars, except escaped ones.
const cellsOf = (line) => line.trim().replace(/^\|/, "").replace(/\|$/, "")
  .split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll("\\|", "|"));

function markdown(text) {
  const found = [];
  const lines = text.split(/\r?\n/);
  const special = (line) => /^(#{1,6} |```|\||[-*] |!\[|\s*$)/.test(line);
  let at = 0;
  while (at < lines.length) {
    const line = lines[at];
    at += 1;
    const heading = /^(#{1,6}) (.*)$/.exec(line);
    if (heading) {
      // Below the headings of the page
      const level = Math.min(heading[1].length + 3, 6);
      found.push(make(`h${level}`, inline(heading[2])));
    } else if (line.startsWith("```")) {
      const code = [];
      while (at < lines.length && !lines[at].startsWith("```")) code.push(lines[at++]);
      at += 1;
      found.push(make("pre", code.join("\n"), { tabindex: "0" }));
    } else if (line.startsWith("|")) {
      const rows = [cellsOf(line)];
      while (at < lines.length && lines[at].startsWith("|")) {
        rows.push(cellsOf(lines[at++]));
      }
      const [heads, ...body] = rows.filter((cells) => (
        !cells.every((cell) => /^:?-+:?$/.test(cell))));
      if (heads) {
        found.push(table(`Table of the report: ${heads.join(", ")}`, heads.map(inline),
          body.map((cells) => cells.map((cell) => make("span", inline(cell))))));
      }
    } else if (/^[-*] /.test(line)) {
      const items = [line.slice(2)];
      while (at < lines.length && /^([-*] |\s+\S)/.test(lines[at])) {
        if (/^[-*] /.test(lines[at])) items.push(lines[at].slice(2));
        else items[items.length - 1] += ` ${lines[at].trim()}`;
        at += 1;
      }
      found.push(make("ul", items.map((item) => make("li", inline(item)))));
    } else if (line.trim() && !line.startsWith("![")) {
      const words = [line];
      while (at < lines.length && !special(lines[at])) words.push(lines[at++]);
      found.push(make("p", inline(words.join(" "))));
    }
  }
  // Below a heading of pictures only, nothing is left.
  const level = (element) => (
    Number(/^H([4-6])$/.exec(element?.tagName ?? "")?.[1] ?? 7));
  return found.filter((element, index) => (
    level(element) === 7 || level(element) < level(found[index + 1])));
}

// Two runs

const VERDICTS = {
  A: "A is better", B: "B is better", "": "no significant difference",
  null: "significance unknown",
};

function pairedParts(found) {
  const clips = `Both runs predict the same ${counted(found.clips, "test clip")} of `
    + `${counted(found.subjects, "subject")}, with `
    + `${counted(found.mcnemar.length, "seed")}.`
    + " Intervals of the differences are 95 % confidence intervals. A difference is"
    + " significant if the intervals over subjects and over seeds exclude 0.";
  return [
    part("Paired differences", make("p", clips), table("Paired differences",
      ["Metric", "A", "B", "A − B", "Over subjects", "Over seeds", "Result"],
      found.metrics.map((one) => [one.title, fixed(one.first), fixed(one.second),
        signed(one.difference), range(one.interval, signed),
        range(one.seeds_interval, signed), make("span", VERDICTS[one.winner])]))),
    part("McNemar's exact test", make("p", "Two-sided; it assumes that clips are "
      + "independent."), table("McNemar's exact test",
      ["Seed", "Only A correct", "Only B correct", "p"],
      found.mcnemar.map((one) => [`${one.seed}`, one.only_first, one.only_second,
        one.p < 0.001 ? one.p.toExponential(1) : fixed(one.p)]))),
  ];
}

function settingsThatDiffer(a, b) {
  const [first, second] = [new Map(a.settings), new Map(b.settings)];
  const names = [...new Set([...first.keys(), ...second.keys()])]
    .filter((name) => first.get(name) !== second.get(name));
  const value = (text) => make(text === undefined ? "span" : "code", text ?? MISSING);
  return part("Settings that differ", names.length
    ? table("Settings that differ", ["Setting", "A", "B"],
      names.map((name) => [name, value(first.get(name)), value(second.get(name))]))
    : make("p", "None."));
}

async function showCompared(id, other) {
  const [a, b] = await Promise.all([id, other].map((one) => (
    request(`api/runs/${encodeURIComponent(one)}`))));
  if (a.shipped || b.shipped) {
    throw new Error("The weights of the package cannot be compared: they have no "
      + "predictions of test clips. Choose two runs.");
  }
  document.title = "Comparison – Runs";
  const found = await request(`api/runs/${a.id}/compared/${b.id}`);
  const both = (one) => fixed(one.value)
    + (one.interval ? ` (${range(one.interval)})` : "");
  const heads = ["", "A", "B", ...(found.reason ? [] : ["A − B"])];
  const plain = (name, read) => [name, make("span", `${read(a.facts) || MISSING}`),
    make("span", `${read(b.facts) || MISSING}`), ...(found.reason ? [] : [""])];
  find("compared-parts").append(
    make("dl", [["A", a], ["B", b]].map(([letter, run]) => make("div", [
      make("dt", letter),
      make("dd", make("a", run.name, { href: addressOf(run.id) }))])),
    { class: "facts names" }),
    make("p", make("a", "Exchange A and B", { href: addressOf(b.id, a.id) })),
    found.reason ? make("p", `No paired comparison. ${found.reason} The numbers below `
      + "do not say which run is better.", { class: "caution" }) : "",
    part("Numbers", table("Numbers", heads, [
      plain("Data sets", (facts) => facts.datasets),
      plain("Model", (facts) => facts.model), plain("Input", (facts) => facts.input),
      plain("Protocol", (facts) => facts.protocol),
      plain("Test clips", (facts) => facts.clips),
      plain("Subjects", (facts) => facts.subjects),
      ...a.metrics.map((one, index) => [one.title, make("span", both(one)),
        make("span", both(b.metrics[index])),
        ...(found.reason ? [] : [one.value === null || b.metrics[index].value === null
          ? MISSING : signed(one.value - b.metrics[index].value)])]),
    ])),
    ...(found.reason ? [] : pairedParts(found)),
    settingsThatDiffer(a, b),
  );
  show("compared");
}

// The view that the address names

function show(id) {
  find("loading").hidden = true;
  find("to-list").hidden = id === "list";
  find(id).hidden = false;
}

const query = new URLSearchParams(location.search);
const [id, other] = [query.get("run"), query.get("with")];
find("to-list").hidden = !id;
const shown = id && other ? showCompared(id, other) : id ? showRun(id) : showList();
shown.catch(complain);
