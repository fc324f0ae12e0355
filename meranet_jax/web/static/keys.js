// Keys of the page.

import { neighbour, toggleLoop, undoLast } from "./candidates.js";
import { decide, eventOf, move, save } from "./corrections.js";
import { find, say } from "./dom.js";
import { goTo, last, step, toggle } from "./player.js";
import { state } from "./state.js";

function ofSelected(work) {
  if (state.shown.selected) work(eventOf(state.shown.selected));
  else say("Select a candidate first: N selects the next one.");
}

function setEdge(side) {
  ofSelected((event) => {
    if (move(event, side, state.now)) save(event);
  });
}

const KEYS = {
  " ": toggle,
  arrowleft: (event) => step(event.shiftKey ? -10 : -1),
  arrowright: (event) => step(event.shiftKey ? 10 : 1),
  n: () => neighbour(1),
  p: () => neighbour(-1),
  l: toggleLoop,
  a: () => ofSelected((one) => decide(one, "accepted")),
  r: () => ofSelected((one) => decide(one, "rejected")),
  u: () => ofSelected((one) => decide(one, "open")),
  i: () => setEdge("onset"),
  o: () => setEdge("offset"),
};

function press(event) {
  if (!state.shown || event.altKey) return;
  const target = event.target;
  // Fields of text undo what was typed in them.
  if (target.closest("input:not([type=checkbox]), select, textarea")) return;
  const key = event.key.toLowerCase();
  if (event.ctrlKey || event.metaKey) {
    if (key !== "z" || event.shiftKey) return;
    event.preventDefault();
    undoLast();
    return;
  }
  const timeline = target === find("timeline");
  if (!timeline && !find("keys").checked) return;
  // These elements use the space bar themselves.
  if (key === " " && target.closest("button, summary, a, input")) return;
  if (timeline && (key === "home" || key === "end")) {
    event.preventDefault();
    goTo(key === "home" ? 0 : last());
    return;
  }
  const work = KEYS[key];
  if (!work) return;
  event.preventDefault();
  work(event);
}

export function start() {
  document.addEventListener("keydown", press);
}
