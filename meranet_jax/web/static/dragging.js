// Presses on the timeline: they go to a time, select a candidate, or drag one of the
// edges of the selected one.

import { select } from "./candidates.js";
import { eventOf, known, move, save, set } from "./corrections.js";
import { goTo } from "./player.js";
import { state, tell } from "./state.js";
import { BANDS, canvas, timeAt, x } from "./timeline.js";

// Pixels around an edge in which it can be grasped, with a mouse and with a finger
const REACH = 7;
const TOUCH = 16;

// Pixels that a pointer must move before an edge does: a press alone changes nothing.
const STILL = 4;

// {side, event, before, from, grasp, moved}; side is null where the time is dragged.
let dragged = null;

function edgeNear(pointer) {
  if (!state.shown.selected) return null;
  const one = known(eventOf(state.shown.selected));
  const distance = (side) => Math.abs(x(one[side]) - pointer.offsetX);
  const side = distance("onset") < distance("offset") ? "onset" : "offset";
  const reach = pointer.pointerType === "touch" ? TOUCH : REACH;
  return distance(side) <= reach ? side : null;
}

function candidateAt(pointer) {
  const time = timeAt(pointer.offsetX);
  const near = timeAt(pointer.offsetX + 4) - timeAt(pointer.offsetX);
  const { face, result } = state.shown;
  const hit = result.events.filter((event) => {
    const one = known(event);
    return one.onset - near <= time && time <= one.offset + near;
  });
  // Of several faces, that of the face whose motion is shown
  return hit.find((event) => face && event.face === face.identity) || hit[0];
}

function press(pointer) {
  if (!state.shown || pointer.button !== 0) return;
  canvas.setPointerCapture(pointer.pointerId);
  const side = edgeNear(pointer);
  dragged = { side, from: pointer.offsetX, moved: false };
  state.shown.held = true;
  if (side) {
    const event = eventOf(state.shown.selected);
    dragged.event = event;
    dragged.before = { ...state.shown.corrections.get(event.number) };
    // The edge stays as far from the pointer as it was.
    dragged.grasp = x(known(event)[side]) - pointer.offsetX;
    goTo(known(event)[side]);
    return;
  }
  const event = pointer.offsetY < BANDS ? candidateAt(pointer) : null;
  if (event) select(event.number);
  goTo(timeAt(pointer.offsetX));
}

function drag(pointer) {
  if (!state.shown) return;
  if (!dragged) {
    canvas.classList.toggle("edge", edgeNear(pointer) !== null);
    return;
  }
  if (!dragged.side) {
    goTo(timeAt(pointer.offsetX));
    return;
  }
  if (Math.abs(pointer.offsetX - dragged.from) >= STILL) dragged.moved = true;
  if (!dragged.moved) return;
  move(dragged.event, dragged.side, timeAt(pointer.offsetX + dragged.grasp), true);
  goTo(known(dragged.event)[dragged.side]);
}

function release() {
  if (!dragged) return;
  const { event, moved } = dragged;
  dragged = null;
  if (!state.shown) return;
  state.shown.held = false;
  tell("now"); // the timeline may move now
  if (moved) save(event);
}

// Puts the edge back, as after Escape, or if the browser has taken the pointer.
function stop() {
  if (dragged && dragged.side && state.shown) {
    const { onset, offset } = dragged.before;
    set(dragged.event, { onset, offset });
    dragged.moved = false;
    goTo(known(dragged.event)[dragged.side]);
  }
  release();
}

export function start() {
  canvas.addEventListener("pointerdown", press);
  canvas.addEventListener("pointermove", drag);
  canvas.addEventListener("pointerup", release);
  canvas.addEventListener("pointercancel", stop);
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && dragged) stop();
  });
}
