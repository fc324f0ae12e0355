// Recordings of the webcam.

import { complain, find } from "./dom.js";
import { state } from "./state.js";
import { add } from "./uploads.js";

// Milliseconds of each part of a recording
const PART = 1000;

let stream = null; // of the camera, while it is open
let recorder = null; // while it records

async function camera() {
  if (!navigator.mediaDevices) {
    throw new Error("The browser allows the webcam only on the machine of the server, "
      + "at 127.0.0.1. Choose a file instead.");
  }
  try {
    return await navigator.mediaDevices.getUserMedia({
      audio: false,
      video: { width: { ideal: 1280 }, height: { ideal: 720 },
        frameRate: { ideal: 60 } },
    });
  } catch (error) {
    throw new Error("The webcam cannot be used: it is missing, in use, or was not "
      + `allowed (${error.name}). Choose a file instead.`);
  }
}

async function open() {
  complain(null);
  find("camera").disabled = true; // a second press would open the camera twice
  try {
    stream = await camera();
    find("preview").srcObject = stream;
    find("preview").play().catch(() => {}); // the recording does not need it
    for (const track of stream.getTracks()) track.addEventListener("ended", unplugged);
  } catch (error) {
    complain(error);
  }
  find("camera").disabled = false;
  show();
}

// Ends all use of the camera, so that its light goes off.
function close() {
  for (const track of stream ? stream.getTracks() : []) track.stop();
  find("preview").srcObject = null;
  stream = null;
  recorder = null;
  show();
}

// A recording ends by itself then, and is kept.
function unplugged() {
  if (!stream || recorder) return;
  close();
  complain(new Error("The camera was closed: it was unplugged, or no longer allowed."));
}

function record() {
  if (!stream || recorder) return;
  complain(null);
  try {
    start();
  } catch (error) {
    close();
    complain(new Error("This browser cannot record the webcam "
      + `(${error.message}). Choose a file instead.`));
  }
}

function start() {
  const kinds = ["video/webm;codecs=vp8", "video/webm", "video/mp4"];
  const mimeType = kinds.find((kind) => MediaRecorder.isTypeSupported(kind));
  const parts = [];
  let size = 0;
  const began = performance.now();
  const made = new MediaRecorder(stream, { ...(mimeType && { mimeType }),
    videoBitsPerSecond: 8e6 });
  made.kept = true; // also if the camera is unplugged
  made.addEventListener("dataavailable", (event) => {
    parts.push(event.data);
    size += event.data.size;
    // The next parts might not be taken by the server.
    if (size > 0.95 * state.largest && made.state === "recording") {
      complain(new Error("The recording has the largest size, and was stopped."));
      made.stop();
    }
  });
  const clock = setInterval(() => {
    if (recorder !== made) return;
    const seconds = Math.floor((performance.now() - began) / 1000);
    find("recorded").textContent = `Recording: ${seconds} s`;
  }, 250);
  made.addEventListener("error", (event) => complain(new Error(
    `The recording has ended: ${event.error ? event.error.name : "unknown reason"}.`)));
  made.addEventListener("stop", () => {
    clearInterval(clock);
    close();
    if (!made.kept || !size) return;
    const time = new Date().toLocaleString("sv").replaceAll(":", ".");
    const suffix = made.mimeType.includes("mp4") ? "mp4" : "webm";
    add(new Blob(parts, { type: made.mimeType }), `webcam ${time}.${suffix}`, true);
  });
  made.start(PART);
  recorder = made;
  show();
}

// Shows the buttons that can be used, and keeps the focus among them.
function show() {
  const focused = document.activeElement;
  const inUse = focused === document.body || find("webcam").contains(focused);
  let shown = ["camera"];
  if (recorder) shown = ["stop", "discard", "preview"];
  else if (stream) shown = ["record", "close-camera", "preview"];
  for (const id of ["camera", "record", "close-camera", "stop", "discard", "preview"]) {
    find(id).hidden = !shown.includes(id);
  }
  find("recorded").textContent = "";
  if (inUse) find(shown[0]).focus({ preventScroll: true });
}

export const isOpen = () => stream !== null;

export function prepare() {
  find("camera").addEventListener("click", open);
  find("record").addEventListener("click", record);
  find("close-camera").addEventListener("click", close);
  find("stop").addEventListener("click", () => recorder && recorder.stop());
  find("discard").addEventListener("click", () => {
    if (!recorder || !window.confirm("Discard this recording?")) return;
    if (!recorder) return; // it has ended meanwhile
    recorder.kept = false;
    recorder.stop();
  });
  window.addEventListener("beforeunload", (event) => {
    if (recorder) event.preventDefault();
  });
}
