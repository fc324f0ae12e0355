// Two runs, compared.

import { find, make } from "./dom.js";
import { request } from "./requests.js";
import { MISSING, addressOf, counted, fixed, part, range, signed, table }
  from "./runs_tables.js";

const VERDICTS = {
  A: "A is better", B: "B is better", "": "no significant difference",
  null: "unknown: this needs several seeds",
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

export async function showCompared(id, other) {
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
}
