// Recordings of the webcam.

import { complain, find } from "./dom.js";
import { state } from "./state.js";
import { add } from "./uploads.js";

// Milliseconds of each part of a recording
const PART = 1000;

let recorder = null;

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

async function record() {
  complain(null);
  find("record").disabled = true; // a second press would open the webcam twice
  let stream;
  try {
    stream = await camera();
    start(stream);
  } catch (error) {
    for (const track of stream ? stream.getTracks() : []) track.stop();
    find("preview").srcObject = null;
    showRecording(false);
    complain(new Error(stream ? "This browser cannot record the webcam "
      + `(${error.message}). Choose a file instead.` : error.message));
  } finally {
    find("record").disabled = false;
  }
}

function start(stream) {
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
    for (const track of stream.getTracks()) track.stop();
    find("preview").srcObject = null;
    recorder = null;
    showRecording(false);
    if (!made.kept || !size) return;
    const time = new Date().toLocaleString("sv").replaceAll(":", ".");
    const suffix = made.mimeType.includes("mp4") ? "mp4" : "webm";
    add(new Blob(parts, { type: made.mimeType }), `webcam ${time}.${suffix}`, true);
  });
  made.start(PART);
  recorder = made;
  find("preview").srcObject = stream;
  find("preview").play().catch(() => {}); // the recording does not need it
  showRecording(true);
  find("stop").focus();
}

function showRecording(yes) {
  find("record").hidden = yes;
  for (const id of ["stop", "discard", "preview"]) find(id).hidden = !yes;
  find("recorded").textContent = "";
  if (!yes) find("record").focus();
}

export const isRecording = () => recorder !== null;

export function prepare() {
  find("record").addEventListener("click", record);
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
