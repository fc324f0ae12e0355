// The video, and the frame that is shown: frames and times are those of the analysis.

import { find } from "./dom.js";
import { state, on, tell } from "./state.js";

const video = find("video");

// Time of the first frame in the video, which another stream may precede. The browser
// says it with the first frame, and the video is not moved before.
let start = null;

// The number of the frame that is nearest to a time
export function frameAt(time) {
  const { times } = state.shown;
  let low = 0;
  let high = times.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (times[middle] < time) low = middle + 1; else high = middle;
  }
  // low is the first frame at this time or later.
  if (low === times.length) return Math.max(low, 1);
  return low > 0 && time - times[low - 1] <= times[low] - time ? low : low + 1;
}

// The time at which a frame is shown first; that of the nearest one that exists
export function timeOf(frame) {
  const { times } = state.shown;
  return times[Math.min(Math.max(frame, 1), times.length) - 1] ?? 0;
}

export const last = () => state.shown.times.at(-1) ?? 0;

// Goes to the frame nearest to a time, so that picture, label and export agree.
export function goTo(time) {
  state.now = timeOf(frameAt(time));
  seek();
  tell("now");
}

export function step(frames) {
  video.pause();
  goTo(timeOf(frameAt(state.now) + frames));
}

export function toggle() {
  if (video.hidden) return;
  if (video.paused) video.play().catch(() => {}); // it is not loaded yet
  else video.pause();
}

export const pause = () => video.pause();

function seek() {
  if (video.hidden || start === null) return;
  const next = timeOf(frameAt(state.now) + 1);
  // A little into the frame, so that rounding does not show the one before
  const inside = next > state.now ? 0.2 * (next - state.now) : 0;
  video.currentTime = start + state.now + inside;
}

// Called for each frame that the browser shows, where it can say so
function follow(time) {
  if (!state.shown || start === null || video.seeking) return;
  const shown = timeOf(frameAt(time - start));
  if (shown === state.now) return;
  state.now = shown;
  tell("now");
}

function began(time) {
  start = time;
  seek();
}

function watch() {
  if (!video.requestVideoFrameCallback) {
    video.addEventListener("loadeddata", () => began(0));
    const next = () => {
      if (!video.paused) follow(video.currentTime);
      requestAnimationFrame(next);
    };
    next();
    video.addEventListener("seeked", () => follow(video.currentTime));
    return;
  }
  const next = (_clock, frame) => {
    if (start === null) began(frame.mediaTime);
    else follow(frame.mediaTime);
    video.requestVideoFrameCallback(next);
  };
  video.requestVideoFrameCallback(next);
}

export function load(address) {
  start = null;
  find("no-video").hidden = true;
  video.hidden = false;
  video.src = address;
}

export function unload() {
  video.removeAttribute("src");
  video.load();
}

export function prepare() {
  video.addEventListener("error", () => {
    if (!video.getAttribute("src")) return;
    find("no-video").hidden = false;
    video.hidden = true;
  });
  on("now", () => {
    const text = `${state.now.toFixed(3)} s, frame ${frameAt(state.now)}`;
    find("position").textContent = text;
    const timeline = find("timeline");
    timeline.setAttribute("aria-valuenow", state.now.toFixed(3));
    timeline.setAttribute("aria-valuetext", text);
  });
  watch();
}
