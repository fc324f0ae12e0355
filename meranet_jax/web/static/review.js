// A recording that is open: its video, faces, notes and export.

import * as corrections from "./corrections.js";
import { complain, find, make, say } from "./dom.js";
import * as player from "./player.js";
import { numbers, request } from "./requests.js";
import { state, on, tell } from "./state.js";

const ALL = "0"; // the length of the timeline: the whole recording
const LONG = 60; // seconds of a recording of which a minute is shown

let opening = 0;

async function leave() {
  try {
    await corrections.ensureSaved();
    return true;
  } catch (error) {
    return window.confirm(`The corrections of ${state.shown.job.name} are not saved: `
      + `${error.message} Leave them?`);
  }
}

async function open(job) {
  complain(null);
  if (state.shown && state.shown.job.id === job.id) {
    show();
    return;
  }
  if (state.shown && !await leave()) return;
  const address = `api/jobs/${job.id}`;
  opening += 1;
  const mine = opening;
  const [result, times] = await Promise.all([
    request(`${address}/result`), numbers(`${address}/times`, Float64Array),
  ]);
  const loaded = await corrections.load(address, result);
  if (mine !== opening) return; // another one was opened meanwhile
  state.shown = { job, address, result, times, ...loaded, selected: null,
    face: result.faces[0] || null, regions: null, held: false };
  state.now = 0;
  describe(job, result);
  find("result").hidden = false;
  player.load(`${address}/video`);
  tell("shown");
  player.goTo(0);
  show();
}

function show() {
  find("result-title").focus({ preventScroll: true });
  find("result").scrollIntoView({ block: "start" });
}

function describe(job, result) {
  find("result-title").textContent = job.name;
  const noFace = !result.faces.length; // the notes say how a face must look
  find("caution").replaceChildren(noFace
    ? make("strong", "There is nothing to review in this recording.") : result.caution);
  find("notes").replaceChildren(...result.notes.map((note) => make("li", note)));
  const limits = result.recogniser && !noFace ? result.recogniser.limits : [];
  find("limits").replaceChildren(...limits.map((limit) => make("li", limit)));
  find("face").replaceChildren(...result.faces.map((face) => make("option",
    String(face.identity), { value: face.identity })));
  find("face-field").hidden = result.faces.length < 2;
  find("zoom").value = result.duration > LONG ? String(LONG) : ALL;
  find("motion").value = "parts";
  find("timeline").classList.remove("tall");
}

function close() {
  opening += 1;
  state.shown = null;
  player.unload();
  find("result").hidden = true;
  tell("shown");
}

// Shows the motion of another face.
function showFace(face) {
  find("face").value = face.identity;
  Object.assign(state.shown, { face, regions: null }); // until they are loaded
  tell("face");
  showMotion().catch(complain);
}

// Shows the motion of each region, or of the parts of the face.
async function showMotion() {
  const { shown } = state;
  const { face } = shown;
  const each = find("motion").value === "regions" && face;
  const loaded = each
    ? await numbers(`${shown.address}/motion/${face.identity}`, Float32Array) : null;
  // Another recording or face may have been chosen meanwhile.
  if (state.shown !== shown || shown.face !== face) return;
  if (each && find("motion").value !== "regions") return;
  shown.regions = loaded;
  find("timeline").classList.toggle("tall", Boolean(loaded));
  tell("face");
}

async function exportAll(event) {
  const button = event.currentTarget;
  const { shown } = state;
  complain(null);
  button.disabled = true;
  say("The files are being written.");
  try {
    await corrections.ensureSaved();
    await request(`${shown.address}/export?revision=${shown.revision}`,
      { method: "POST" });
    const href = `${shown.address}/export.zip?revision=${shown.revision}`;
    make("a", "", { href, download: "" }).click();
    say("The files are in your downloads.");
  } catch (error) {
    complain(new Error(`Nothing was exported. ${error.message}`));
  }
  button.disabled = false;
}

export function start() {
  on("open", (job) => open(job).catch(complain));
  // In a narrow window, candidates that are selected scroll to below it.
  new ResizeObserver(() => find("result").style.setProperty("--watch",
    `${find("watch").offsetHeight}px`)).observe(find("watch"));
  on("close", close);
  on("choose-face", showFace);
  on("jobs", () => {
    const { shown } = state;
    if (shown && !state.jobs.some((job) => job.id === shown.job.id)) {
      close();
      complain(new Error(`${shown.job.name} was deleted in another window.`));
    }
  });
  find("face").addEventListener("change", () => {
    const identity = Number(find("face").value);
    showFace(state.shown.result.faces.find((one) => one.identity === identity));
  });
  find("motion").addEventListener("change", () => showMotion().catch(complain));
  find("export").addEventListener("click", exportAll);
}
