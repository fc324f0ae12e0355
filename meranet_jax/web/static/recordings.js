// The list of recordings: what is sent, in the queue, analysed or failed.

import { complain, duration, find, gigabytes, make, say } from "./dom.js";
import { request } from "./requests.js";
import { state, on, tell } from "./state.js";
import * as sending from "./uploads.js";
import { isOpen } from "./webcam.js";

const STATES = {
  queued: "waiting", running: "", done: "ready", failed: "", cancelled: "cancelled",
};
const STAGES = {
  preparing: "preparing", motion: "measuring motion", cutting: "reading the candidates",
  writing: "writing the results",
};
const NO_FACE = "ready, but no face was found";

let timer = 0;
let lost = false;

export async function refresh() {
  clearTimeout(timer);
  let wait = 3000;
  try {
    const { jobs, largest, runs, keep } = await request("api/state");
    const before = new Map(state.jobs.map((job) => [job.id, job.state]));
    state.jobs = jobs;
    state.largest = largest;
    showRuns(runs);
    find("deleted-at-end").hidden = keep;
    for (const job of jobs) announce(job, before.get(job.id));
    if (jobs.some((job) => ["queued", "running"].includes(job.state))) wait = 500;
    if (lost) complain(null);
    lost = false;
    tell("jobs");
  } catch (error) {
    if (!lost) complain(error);
    lost = true;
  }
  draw();
  clearTimeout(timer); // of another refresh meanwhile
  timer = setTimeout(refresh, wait);
}

function announce(job, was) {
  if (!was || was === job.state || !["done", "failed"].includes(job.state)) return;
  const ready = job.faces === 0 ? NO_FACE : STATES.done;
  say(job.state === "done" ? `${job.name} is ${ready}.` : `${job.name} failed.`);
  // It opens by itself, unless that would disturb.
  const busy = isOpen() || sending.uploads.length
    || document.activeElement.matches("input, select, textarea, summary");
  if (job.state === "done" && !state.shown && !busy) tell("open", job);
}

function showRuns(runs) {
  if (JSON.stringify(runs) === JSON.stringify(state.runs)) return;
  state.runs = runs;
  const chosen = find("run").value;
  find("run").replaceChildren(...runs.map((run) => make("option", run.title,
    { value: run.id })));
  if (runs.some((run) => run.id === chosen)) find("run").value = chosen;
  find("size-hint").textContent = "MP4, QuickTime, Matroska, WebM, AVI, MPEG, Windows "
    + `Media or Flash video, at most ${gigabytes(state.largest)}. A face should look `
    + "towards the camera, with its eyes at least 32 pixels apart.";
  describeRun();
}

function describeRun() {
  find("about-run").href = `runs?${new URLSearchParams({ run: find("run").value })}`;
}

// Sent rows are drawn in place, since a row that is moved loses the focus.
function draw() {
  const wanted = [
    ...sending.uploads.map((one) => ({ id: uploadId(one), name: one.name, one,
      state: one.error ? "unsent" : "uploading", share: one.share, error: one.error })),
    ...[...state.jobs].reverse(),
  ];
  find("no-jobs").hidden = wanted.length > 0;
  const list = find("jobs");
  const rows = new Map([...list.children].map((row) => [row.dataset.id, row]));
  const kept = wanted.map((job) => rows.get(job.id)
    || (job.one ? uploadRow(job) : jobRow(job)));
  for (const row of rows.values()) if (!kept.includes(row)) row.remove();
  kept.forEach((row, index) => {
    if (list.children[index] !== row) list.insertBefore(row, list.children[index]);
  });
  wanted.forEach((job, index) => fill(kept[index], job));
}

const ids = new WeakMap();
let last = 0;

function uploadId(one) {
  if (!ids.has(one)) ids.set(one, `upload-${last += 1}`);
  return ids.get(one);
}

function row(job, actions) {
  const made = make("li", "", { "data-id": job.id });
  made.append(
    make("span", job.name, { class: "name" }),
    make("span", "", { class: "what" }),
    make("progress", "", { max: 1, "aria-label": `Progress of ${job.name}` }),
    ...actions.map(([name, kind, work]) => make("button", name, {
      type: "button", class: kind, "aria-label": `${name}: ${job.name}`,
      on: async () => {
        complain(null);
        try { await work(); } catch (error) { complain(error); }
      },
    })),
  );
  return made;
}

function uploadRow({ id, name, one }) {
  return row({ id, name }, [
    ["Send again", "send", () => sending.send(one)],
    ["Save as a file", "save", () => sending.save(one)],
    ["Discard", "discard", () => {
      if (!window.confirm(`Discard ${name}?`)) return;
      sending.discard(one);
      find("recordings").focus();
    }],
  ]);
}

function jobRow(job) {
  const { id, name } = job;
  const address = `api/jobs/${id}`;
  return row(job, [
    ["Open", "open", () => tell("open", state.jobs.find((one) => one.id === id))],
    ["Cancel", "cancel", async () => {
      const { state: now } = await request(`${address}/cancel`, { method: "POST" });
      if (now === "cancelled") say(`${name} was cancelled.`);
      await refresh();
      focusOn(id, "repeat");
    }],
    ["Analyse again", "repeat", async () => {
      const query = new URLSearchParams({ run: find("run").value });
      await request(`${address}/repeat?${query}`, { method: "POST" });
      say(`${name} is in the queue.`);
      await refresh();
      focusOn(id, "cancel");
    }],
    ["Save the video", "save", () => {
      make("a", "", { href: `${address}/video?download`, download: "" }).click();
    }],
    ["Delete", "delete", async () => {
      const question = `Delete ${name} with its results and corrections?`;
      if (!window.confirm(question)) return;
      try {
        await request(address, { method: "DELETE" });
      } catch (error) {
        if (error.status !== 404) throw error; // of another window
      }
      if (state.shown && state.shown.job.id === id) tell("close");
      say(`${name} was deleted.`);
      await refresh();
      find("recordings").focus();
    }],
  ]);
}

// Another button, where the one that was pressed is hidden now
function focusOn(id, kind) {
  if (document.activeElement !== document.body) return;
  const button = find("jobs").querySelector(`[data-id="${id}"] .${kind}:not([hidden])`);
  (button || find("recordings")).focus();
}

function describeStage({ stage, done, total }) {
  if (stage === "recognition") {
    const what = `recognising ${total} candidate${total === 1 ? "" : "s"}`;
    return done ? `${what}, ${done} done` : `${what}, about a minute before the first`;
  }
  if (stage === "drawing") return `drawing candidate ${done + 1} of ${total}`;
  return STAGES[stage] || stage;
}

function describe(job) {
  let what = job.error || STATES[job.state] || "";
  if (job.state === "done" && job.faces === 0) what = NO_FACE;
  if (job.state === "uploading") what = "uploading";
  if (job.state === "running") what = describeStage(job);
  if (job.seconds_left != null) what += `, about ${duration(job.seconds_left)} left`;
  if (job.run && state.runs.length > 1) what += ` · ${job.run}`;
  if (job.added) {
    const time = new Date(1000 * job.added);
    const day = time.toDateString() === new Date().toDateString() ? ""
      : `${time.toLocaleDateString("sv")} `;
    what += ` · added ${day}${time.toLocaleTimeString("sv")}`;
  }
  return what;
}

function fill(made, job) {
  const what = describe(job);
  const text = made.querySelector(".what");
  if (text.textContent !== what) text.textContent = what;
  text.classList.toggle("failed", ["failed", "unsent"].includes(job.state));
  const bar = made.querySelector("progress");
  bar.hidden = !["uploading", "running"].includes(job.state);
  if (job.share == null) bar.removeAttribute("value");
  else bar.value = job.share;
  const ended = ["done", "failed", "cancelled"].includes(job.state);
  const shown = job.one
    ? { send: job.error, save: job.error, discard: job.error }
    : { open: job.state === "done", cancel: ["queued", "running"].includes(job.state),
      repeat: ended && !job.unusable, save: ended, delete: true };
  for (const [kind, yes] of Object.entries(shown)) {
    made.querySelector(`.${kind}`).hidden = !yes;
  }
  const open = Boolean(state.shown && state.shown.job.id === job.id);
  made.setAttribute("aria-current", String(open));
}

export function start() {
  find("run").addEventListener("change", describeRun);
  on("uploads", draw);
  on("shown", draw);
  on("refresh", refresh);
}
