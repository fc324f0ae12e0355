// The video, and the frame that is shown: frames and times are those of the analysis.

import { find, say } from "./dom.js";
import { answers } from "./requests.js";
import { state, on, tell } from "./state.js";

const video = find("video");

// Time of the first frame in the video, which another stream may precede. The browser
// says it with the first frame, and the video is not moved before.
let start = null;

// Where this page has sent the video, until it is there; null otherwise
let target = null;

// Speed of a loop
const SLOW = 0.25;

// What is played again and again: a function that returns its first and last time,
// which may change meanwhile; null if nothing is. And the speed before.
let looped = null;
let speed = 1;

// Whether the server did not answer: the video is loaded again when it does.
let lost = false;

// Whether the video was loaded once more since then: the server may have begun to
// answer between the request for the video and the question whether it answers.
let retried = false;

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
  endLoop();
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

// Plays a part of the recording again and again, slowly.
export function loop(part) {
  if (video.hidden) {
    say("This browser cannot play this video.");
    return;
  }
  goTo(part()[0]);
  looped = part;
  speed = video.playbackRate;
  video.playbackRate = SLOW;
  video.play().catch(() => {}); // it is not loaded yet, or was stopped meanwhile
  tell("loop");
}

export function endLoop() {
  if (!looped) return;
  looped = null;
  video.pause();
  video.playbackRate = speed;
  tell("loop");
}

export const isLooping = () => looped !== null;

function again() {
  state.now = timeOf(frameAt(looped()[0]));
  seek();
  tell("now");
  if (video.paused) video.play().catch(() => {}); // the recording has ended
}

function seek() {
  if (video.hidden || start === null) return;
  const next = timeOf(frameAt(state.now) + 1);
  // A little into the frame, so that rounding does not show the one before
  const inside = next > state.now ? 0.2 * (next - state.now) : 0;
  target = start + state.now + inside;
  video.currentTime = target;
}

// Called for each frame that the browser shows, where it can say so
function follow(time) {
  // A frame on the way to the one that is wanted
  if (!state.shown || start === null || target !== null) return;
  const shown = timeOf(frameAt(time - start));
  if (looped && shown > looped()[1]) {
    again();
    return;
  }
  if (shown === state.now) return;
  state.now = shown;
  tell("now");
}

// The user may also move the video by its own controls.
function arrived() {
  const { currentTime } = video;
  const own = target !== null && Math.abs(currentTime - target) < 1e-3;
  target = null;
  if (own || !state.shown || start === null) return;
  // The frame that is shown began before this time.
  const near = frameAt(currentTime - start);
  const began = timeOf(near) > currentTime - start + 1e-4 ? near - 1 : near;
  follow(start + timeOf(began));
}

function began(time) {
  start = time;
  seek();
}

function watch() {
  video.addEventListener("seeked", arrived);
  // By a key or the controls; at the end of the recording the loop goes on.
  video.addEventListener("pause", () => {
    if (video.paused && !video.ended) endLoop(); // and not another one has begun
  });
  video.addEventListener("ended", () => { if (looped) again(); });
  // A seek that the user begins replaces that of the page.
  video.addEventListener("seeking", () => {
    if (target !== null && Math.abs(video.currentTime - target) >= 1e-3) target = null;
  });
  if (!video.requestVideoFrameCallback) {
    video.addEventListener("loadeddata", () => began(0));
    const next = () => {
      if (!video.paused) follow(video.currentTime);
      requestAnimationFrame(next);
    };
    next();
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
  endLoop();
  if (address !== video.getAttribute("src")) retried = false;
  lost = false;
  start = null;
  target = null;
  find("no-video").hidden = true;
  video.hidden = false;
  video.src = address;
}

export function unload() {
  endLoop();
  lost = false;
  video.removeAttribute("src");
  video.load();
}

export function prepare() {
  video.addEventListener("error", async () => {
    const address = video.getAttribute("src");
    if (!address) return;
    // A connection that breaks off is no fault of the video, also if the server answers
    // again by now.
    const code = video.error?.code;
    const broken = code === MediaError.MEDIA_ERR_NETWORK;
    const answered = !broken && await answers(address);
    if (address !== video.getAttribute("src")) return; // another one was opened
    lost = !answered;
    if (lost) {
      retried = false;
      return;
    }
    // Also of a request that was not answered with a video
    if (code === MediaError.MEDIA_ERR_SRC_NOT_SUPPORTED && !retried) {
      load(address);
      retried = true;
      return;
    }
    find("no-video").hidden = false;
    video.hidden = true;
  });
  on("jobs", () => { if (lost) load(video.getAttribute("src")); });
  on("now", () => {
    const text = `${state.now.toFixed(3)} s, frame ${frameAt(state.now)}`;
    find("position").textContent = text;
    const timeline = find("timeline");
    timeline.setAttribute("aria-valuenow", state.now.toFixed(3));
    timeline.setAttribute("aria-valuetext", text);
  });
  watch();
}
