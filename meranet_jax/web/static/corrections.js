// Corrections of candidates: what the user has changed, and what the server has saved.

import { complain, find, say } from "./dom.js";
import { frameAt, last, timeOf } from "./player.js";
import { request } from "./requests.js";
import { state, on, tell } from "./state.js";

// Attempts to save after changes of another window
const ATTEMPTS = 5;

const untouched = (number) => ({ number, verdict: "open", onset: null, offset: null });
const same = (one, other) => one.verdict === other.verdict && one.onset === other.onset
  && one.offset === other.offset;
const copy = (corrections) => new Map(
  [...corrections].map(([number, one]) => [number, { ...one }]));

function byNumber(result, saved) {
  const found = new Map(result.events.map((event) => [event.number,
    untouched(event.number)]));
  for (const one of saved) found.set(one.number, one);
  return found;
}

// What is known of the corrections when a recording is opened: those of the user, those
// that are saved, and how often that was done. `steps` are the changes that can be
// undone, as the corrections that they replaced; `settled` is what the last one left.
export async function load(address, result) {
  const { revision, corrections } = await request(`${address}/corrections`);
  const saved = byNumber(result, corrections);
  return { corrections: copy(saved), saved, revision, failure: null,
    steps: [], settled: copy(saved) };
}

export const eventOf = (number) => state.shown.result.events
  .find((one) => one.number === number);

// The decision on a candidate and its interval, the user's or the machine's
export function known(event) {
  const one = state.shown.corrections.get(event.number);
  return {
    verdict: one.verdict,
    onset: one.onset ?? event.onset.time,
    offset: one.offset ?? event.offset.time,
    moved: one.onset !== null || one.offset !== null,
  };
}

function frameOf(event, side) {
  const time = state.shown.corrections.get(event.number)[side];
  return time === null ? event[side].frame : frameAt(time);
}

// Sets one end of an interval to the frame nearest to a time, and returns whether that
// was done. It is refused if the onset would not be before the offset, except while an
// edge is dragged: that stops there.
export function move(event, side, time, dragged = false) {
  // A time that is typed has three digits.
  if (!(time >= 0 && time <= last() + 1e-3)) {
    complain(new Error(`Candidate ${event.number}: its ${side} must be a number of `
      + `seconds from 0 to ${last().toFixed(3)}.`));
    return false;
  }
  const wanted = frameAt(time);
  const frame = side === "onset" ? Math.min(wanted, frameOf(event, "offset") - 1)
    : Math.max(wanted, frameOf(event, "onset") + 1);
  if (frame !== wanted && !dragged) {
    const other = side === "onset" ? "offset" : "onset";
    complain(new Error(`Candidate ${event.number}: its onset must be before its `
      + `offset. Its ${other} is at ${known(event)[other].toFixed(3)} s: move this `
      + "first."));
    return false;
  }
  complain(null);
  if (frame < 1 || frame > state.shown.times.length) return false;
  const machine = frame === event[side].frame;
  set(event, { [side]: machine ? null : timeOf(frame) });
  return true;
}

export function set(event, changes) {
  Object.assign(state.shown.corrections.get(event.number), changes);
  tell("correction", event);
}

export function decide(event, verdict) {
  set(event, { verdict });
  save(event);
}

const unsaved = (shown) => [...shown.corrections]
  .some(([number, one]) => !same(one, shown.saved.get(number)));

export const isUnsaved = () => Boolean(state.shown) && unsaved(state.shown);

// Notes a change that is complete: an edge that was dragged is a single one.
function note(shown, number) {
  const before = shown.settled.get(number);
  const now = shown.corrections.get(number);
  if (same(before, now)) return;
  shown.steps.push(before);
  shown.settled.set(number, { ...now });
  showUndo();
}

// Takes back the last change, saves that, and returns the candidate; null if there is
// no change.
export function undo() {
  const { shown } = state;
  const before = shown.steps.pop();
  if (!before) return null;
  const event = eventOf(before.number);
  shown.settled.set(before.number, before);
  set(event, before);
  save(event);
  showUndo();
  return event;
}

// The button can have the focus where there is nothing to undo, too.
function showUndo() {
  const none = !state.shown || !state.shown.steps.length;
  find("undo").setAttribute("aria-disabled", String(none));
}

let running = null;
let latest = null; // the candidate that was changed last

function begin(shown) {
  running = push(shown).finally(() => { running = null; });
  return running;
}

// Saves all changes. Later ones are sent after those that are being sent. Without any,
// nothing is sent or said.
export function save(event = null) {
  const { shown } = state;
  if (event) note(shown, event.number);
  if (!running && !shown.failure && !unsaved(shown)) return Promise.resolve();
  latest = event || latest;
  return (running || begin(shown)).catch(() => {}); // it is shown; see describe
}

// The same, and throws what prevents it.
export async function ensureSaved() {
  if (running) await running.catch(() => {});
  if (isUnsaved()) await begin(state.shown);
}

async function push(shown) {
  describe("The corrections are being saved.");
  for (let attempt = 0; unsaved(shown); attempt += 1) {
    const sent = copy(shown.corrections);
    const body = JSON.stringify({ revision: shown.revision,
      corrections: [...sent.values()] });
    try {
      const answer = await request(`${shown.address}/corrections`,
        { method: "PUT", body });
      shown.revision = answer.revision;
      shown.saved = sent;
    } catch (error) {
      if (error.status === 409 && attempt < ATTEMPTS) {
        await merge(shown).catch((other) => fail(shown, other));
        continue;
      }
      fail(shown, error);
    }
  }
  shown.failure = null;
  describe("All corrections are saved.");
  if (latest && shown === state.shown) {
    const said = known(latest);
    say(`Candidate ${latest.number}: ${said.verdict === "open" ? "not decided"
      : said.verdict}, ${said.onset.toFixed(3)} to ${said.offset.toFixed(3)} s, saved`);
  }
}

function fail(shown, error) {
  shown.failure = error;
  describe(`Corrections are not saved: ${error.message}`, true);
  throw error;
}

// Takes over what another window has saved, except where only this one has changes.
async function merge(shown) {
  const answer = await request(`${shown.address}/corrections`);
  const theirs = byNumber(shown.result, answer.corrections);
  const lost = [];
  for (const [number, mine] of shown.corrections) {
    const before = shown.saved.get(number);
    const other = theirs.get(number);
    const changed = !same(mine, before);
    if (changed && (same(other, before) || same(other, mine))) continue;
    if (changed) lost.push(number);
    if (same(mine, other)) continue;
    Object.assign(mine, other);
    // Earlier steps would undo the change of the other window.
    shown.settled.set(number, { ...other });
    shown.steps = shown.steps.filter((one) => one.number !== number);
  }
  shown.saved = theirs;
  shown.revision = answer.revision;
  if (lost.length) {
    complain(new Error(`Another window has changed candidate ${lost.join(", ")} as `
      + "well. You see its change; make yours once more if it is the right one."));
  }
  if (shown !== state.shown) return;
  showUndo();
  tell("corrections");
}

function describe(text, failed = false) {
  find("saved").textContent = text;
  find("saved").classList.toggle("failed", failed);
  find("save-again").hidden = !failed;
}

export function start() {
  find("save-again").addEventListener("click", () => save());
  on("shown", () => {
    latest = null;
    describe("");
    showUndo();
  });
  // Another window has saved something, or the server can be reached another time.
  on("jobs", () => {
    const { shown } = state;
    if (!shown || running || shown.held) return;
    const job = state.jobs.find((one) => one.id === shown.job.id);
    if (!job) return;
    const { failure } = shown;
    const again = !failure || failure.status === 0 || failure.status >= 500;
    if (unsaved(shown)) {
      if (again) save();
    } else if (job.revision !== shown.revision) {
      // What is changed meanwhile is saved afterwards.
      running = merge(shown).catch(() => {}).then(() => unsaved(shown) && push(shown))
        .finally(() => { running = null; });
      running.catch(() => {});
    }
  });
  window.addEventListener("beforeunload", (event) => {
    if (isUnsaved()) event.preventDefault();
  });
}
