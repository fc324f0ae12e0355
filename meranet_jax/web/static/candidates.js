// The list of candidates: what each resembles, decisions on it, and pictures.

import { decide, eventOf, known, move, save, set, undo } from "./corrections.js";
import { find, make, say } from "./dom.js";
import { endLoop, frameAt, goTo, isLooping, loop, pause, timeOf } from "./player.js";
import { state, on, tell } from "./state.js";

// Marks in addition to colours
export const MARKS = { open: "", accepted: " ✓", rejected: " ✗" };

// Seconds of a micro candidate, and what rounding adds
const LONGEST_MICRO = 0.5 + 1e-6;

// Seconds before the onset in which a loop begins
const BEFORE = 0.3;

const rows = new Map(); // by the number of the candidate

function draw() {
  if (!state.shown) return;
  const { events } = state.shown.result;
  find("candidates-title").textContent = `Candidates (${events.length})`;
  rows.clear();
  for (const event of events) rows.set(event.number, item(event));
  events.forEach(fill);
  find("candidates").replaceChildren(...rows.values());
}

function item(event) {
  const made = make("li", "", { "data-number": event.number });
  made.append(
    make("button", "", {
      type: "button", class: "go",
      on: (pressed) => {
        select(event.number);
        goTo(known(event).onset);
        // After a click, the space bar plays; after a key, it presses this button.
        if (pressed.detail) find("timeline").focus({ preventScroll: true });
      },
    }),
    make("p", "", { class: "times number" }),
    make("p", event.resembles || (event.kind === "macro"
      ? "not recognised: longer than 0.5 s" : ""), { class: "answer" }),
  );
  const about = [event.regions.length && `moves: ${event.regions.join(", ")}`,
    event.flags.length && `also: ${event.flags.join(", ")}`].filter(Boolean).join("; ");
  made.append(make("p", about, { class: "hint" }));
  made.append(decisions(event));
  const more = make("details");
  more.append(make("summary", "Probabilities and pictures"));
  more.addEventListener("toggle", () => {
    if (more.open && more.children.length === 1) more.append(...evidence(event));
  });
  if (event.recognition || event.strip) made.append(more);
  return made;
}

function decisions(event) {
  const row = make("div", "", { class: "decide", role: "group",
    "aria-label": `Decision on candidate ${event.number}` });
  for (const [name, verdict] of [["Accept", "accepted"], ["Reject", "rejected"]]) {
    row.append(make("button", name, { type: "button", "data-verdict": verdict,
      on: () => {
        show(event);
        toggle(event, verdict);
      } }));
  }
  for (const name of ["onset", "offset"]) {
    const label = make("label", `${name} `);
    const input = make("input", "", { inputmode: "decimal", "data-side": name,
      "aria-label": `${name} of candidate ${event.number} in seconds` });
    input.addEventListener("change", () => {
      const text = input.value.trim().replace(",", "."); // select fills in the last one
      select(event.number);
      moveTo(event, name, text === "" ? NaN : Number(text));
      fill(event); // also if nothing has changed
    });
    // The browser's own steps would end between frames.
    input.addEventListener("keydown", (pressed) => {
      const step = { ArrowUp: 1, ArrowDown: -1 }[pressed.key];
      if (!step) return;
      pressed.preventDefault();
      select(event.number);
      moveTo(event, name, timeOf(frameAt(known(event)[name]) + step));
    });
    label.append(input);
    row.append(label);
  }
  row.append(make("button", "Reset interval", { type: "button", class: "reset",
    "aria-label": `Reset the interval of candidate ${event.number} to the machine's`,
    on: () => {
      row.querySelector("input").focus(); // this button is hidden then
      set(event, { onset: null, offset: null });
      save(event);
    } }));
  return row;
}

function evidence(event) {
  const found = event.recognition;
  const parts = [];
  if (found) {
    const bars = make("div", "", { class: "bars" });
    for (const { name, value } of found.probabilities) {
      bars.append(make("span", name),
        make("meter", "", { value, max: 1, "aria-label": `Probability of ${name}` }),
        make("span", value.toFixed(2), { class: "number" }));
    }
    parts.push(bars);
    if (found.plausible) {
      const coverage = state.shown.result.recogniser.coverage;
      parts.push(make("p",
        `Plausible classes: ${found.plausible.join(", ") || "none"}.`));
      if (coverage) {
        parts.push(make("p", `Such a list has the true class for ${
          Math.round(100 * coverage)} % of clips like those that it was calibrated on. `
          + "For other cameras and people it may be less.", { class: "hint" }));
      }
    }
    const facts = [];
    if (found.distinct < found.frames) {
      facts.push(`${found.distinct} of ${found.frames} frames of the clip are `
        + "distinct.");
    }
    const data = state.shown.result.recogniser?.trained_on ?? [];
    if (data.length) facts.push(`The recogniser was trained on ${data.join(", ")}.`);
    if (facts.length) parts.push(make("p", facts.join(" "), { class: "hint" }));
  }
  for (const reason of event.reasons) parts.push(make("p", `No answer: ${reason}.`));
  const pictures = make("div", "", { class: "pictures" });
  const name = `${state.shown.address}/pictures/${event.picture}`;
  if (event.strip) {
    const large = make("a", "", { href: `${name}.png`, target: "_blank" });
    large.append(make("img", "", { src: `${name}.png`, alt: "Frames of candidate "
      + `${event.number}, its onset and apex, and where the network looks` }));
    pictures.append(large);
  }
  if (event.animation) {
    pictures.append(make("img", "", { src: `${name}.gif`,
      alt: `Animation of candidate ${event.number}` }));
  }
  if (event.strip || event.animation) {
    parts.push(pictures, make("p", "Maps show what changes the answer of the network. "
      + "They do not prove what moved.", { class: "hint" }));
  }
  return parts;
}

function fill(event) {
  const item = rows.get(event.number);
  const one = known(event);
  item.className = one.verdict;
  item.classList.toggle("selected", event.number === state.shown.selected);
  const kind = one.offset - one.onset <= LONGEST_MICRO ? "micro" : "macro";
  const what = one.moved ? event.what.replace(/^(micro|macro)/, kind) : event.what;
  const faces = state.shown.result.faces.length > 1 ? `, face ${event.face}` : "";
  item.querySelector(".go").textContent = `${event.number}: ${what}${faces}`;
  let times = `${one.onset.toFixed(3)} to ${one.offset.toFixed(3)} s, `;
  if (one.onset <= event.apex.time && event.apex.time <= one.offset) {
    times += `apex ${event.apex.time.toFixed(3)} s (frame ${event.apex.frame})`;
  } else {
    const apex = event.apex.time < one.onset ? one.onset : one.offset;
    times += `apex ${apex.toFixed(3)} s (the machine's, ${event.apex.time.toFixed(3)} `
      + "s, is not in this interval)";
  }
  if (one.verdict !== "open") times += ` · ${one.verdict}${MARKS[one.verdict]}`;
  if (one.moved) {
    times += ` · moved; the machine's is ${event.onset.time.toFixed(3)} to `
      + `${event.offset.time.toFixed(3)} s`;
  }
  item.querySelector(".times").textContent = times;
  for (const button of item.querySelectorAll("[data-verdict]")) {
    button.setAttribute("aria-pressed", String(button.dataset.verdict === one.verdict));
  }
  for (const input of item.querySelectorAll("[data-side]")) {
    input.value = one[input.dataset.side].toFixed(3);
  }
  item.querySelector(".reset").hidden = !one.moved;
}

// Moves an edge, and shows its frame.
function moveTo(event, side, time) {
  if (!move(event, side, time)) return;
  goTo(known(event)[side]);
  save(event);
}

// Selects a candidate, and goes to it if another one was selected.
function show(event) {
  if (state.shown.selected === event.number) return;
  select(event.number);
  goTo(known(event).onset);
}

function toggle(event, verdict) {
  decide(event, known(event).verdict === verdict ? "open" : verdict);
}

export function select(number) {
  const { shown } = state;
  const before = shown.selected;
  shown.selected = number;
  if (before !== number) endLoop();
  const event = eventOf(number);
  if (shown.face && event.face && shown.face.identity !== event.face) {
    tell("choose-face", shown.result.faces.find((one) => one.identity === event.face));
  }
  if (before && before !== number) fill(eventOf(before));
  fill(event);
  // Where a row is too long for the window, its beginning is seen.
  const row = rows.get(number);
  for (const part of [row, row.querySelector(".go")]) {
    part.scrollIntoView({ block: "nearest" });
  }
  tell("selected");
}

// Selects the candidate after the selected one, or before it.
export function neighbour(direction) {
  const { events } = state.shown.result;
  const at = events.findIndex((one) => one.number === state.shown.selected);
  const first = direction > 0 ? 0 : events.length - 1;
  const event = events[at < 0 ? first : at + direction];
  if (!event) return;
  pause();
  select(event.number);
  goTo(known(event).onset);
}

// Plays the selected candidate in a loop, or ends that.
export function toggleLoop() {
  if (isLooping()) {
    endLoop();
    return;
  }
  if (!state.shown.selected) {
    say("Select a candidate first: N selects the next one.");
    return;
  }
  const event = eventOf(state.shown.selected);
  loop(() => {
    const { onset, offset } = known(event);
    return [Math.max(onset - BEFORE, 0), offset];
  });
}

// Undoes the last change, and shows the candidate that it was of.
export function undoLast() {
  if (state.shown.held) return; // an edge is dragged
  const event = undo();
  if (event) show(event);
  else say("There is nothing to undo.");
}

export function start() {
  find("undo").addEventListener("click", undoLast);
  find("loop").addEventListener("click", toggleLoop);
  on("loop", () => find("loop").setAttribute("aria-pressed", String(isLooping())));
  on("shown", draw);
  on("correction", fill);
  on("corrections", () => state.shown.result.events.forEach(fill));
}
