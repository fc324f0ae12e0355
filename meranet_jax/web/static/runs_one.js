// One run: its numbers, figures, calibration, report and settings.

import { find, make } from "./dom.js";
import { markdown } from "./markdown.js";
import { request } from "./requests.js";
import { MISSING, addressOf, counted, day, fixed, part, percent, range, table, whole }
  from "./runs_tables.js";

const metricsTable = (metrics) => table("Results",
  ["Metric", "Value", "95 % interval", "SD over seeds"],
  metrics.map((one) => [one.title, fixed(one.value), range(one.interval),
    fixed(one.sd)]));

const classTable = ({ by_class: classes }) => table("Results by class",
  ["Class", "Clips of this class", "Precision", "Recall", "F1"],
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

export async function showRun(id) {
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
}
