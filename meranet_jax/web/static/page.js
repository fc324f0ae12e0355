// The page: recordings, their timeline and candidates, and corrections.

const find = (id) => document.getElementById(id);
const PARTS = ["brow", "eye", "nose", "mouth"];
const STATES = {
  queued: "waiting", running: "", done: "ready", failed: "", cancelled: "cancelled",
};
const STAGES = {
  preparing: "preparing", motion: "measuring motion", recognition: "recognising",
};
// Marks in addition to colours
const MARKS = { open: "", accepted: " ✓", rejected: " ✗" };

// What is open: the recording's result, corrections by number, and the selection
let shown = null;
let now = 0; // seconds
let largest = Infinity;
let runs = [];

// Requests

async function request(path, options = {}) {
  const answer = await fetch(path, options);
  if (!answer.ok) {
    const said = await answer.json().catch(() => ({}));
    throw new Error(said.error || `The server answered ${answer.status}.`);
  }
  return answer.status === 204 ? null : answer.json();
}

function say(text) {
  find("status").textContent = text;
  clearTimeout(say.timer);
  say.timer = setTimeout(() => { find("status").textContent = ""; }, 4000);
}

function complain(error) {
  find("message").textContent = error ? error.message : "";
  if (error) find("message").scrollIntoView({ block: "nearest" });
}

function make(name, text = "", attributes = {}) {
  const element = document.createElement(name);
  element.textContent = text;
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "on") element.addEventListener("click", value);
    else element.setAttribute(key, value);
  }
  return element;
}

// Uploads

const uploading = []; // {name, share}

function send(blob, name) {
  complain(null);
  if (blob.size > largest) {
    complain(new Error(`${name} is larger than ${bytes(largest)}. Cut it into parts.`));
    return Promise.resolve();
  }
  const one = { name, share: 0 };
  uploading.push(one);
  drawJobs();
  return new Promise((resolve) => {
    // fetch does not say how much was sent.
    const sent = new XMLHttpRequest();
    const query = new URLSearchParams({ name, run: find("run").value });
    sent.open("POST", `api/jobs?${query}`);
    sent.upload.addEventListener("progress", (event) => {
      if (event.lengthComputable) one.share = event.loaded / event.total;
      drawJobs();
    });
    sent.addEventListener("loadend", () => {
      uploading.splice(uploading.indexOf(one), 1);
      if (sent.status === 201) {
        say(`${name} is in the queue.`);
      } else {
        let reason = "The server cannot be reached. Is it still running?";
        try { reason = JSON.parse(sent.responseText).error; } catch { /* none */ }
        complain(new Error(`${name}: ${reason}`));
      }
      refresh();
      resolve();
    });
    sent.send(blob);
  });
}

async function sendAll(files) {
  for (const file of files) await send(file, file.name);
}

const bytes = (size) => `${Number((size / 1e9).toPrecision(2))} GB`;

find("file").addEventListener("change", async (event) => {
  await sendAll([...event.target.files]);
  event.target.value = "";
});
for (const kind of ["dragover", "drop", "dragleave"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    find("drop").classList.toggle("over", kind === "dragover");
    if (kind === "drop") sendAll([...event.dataTransfer.files]);
  });
}

// The webcam

let recorder = null;

async function record() {
  complain(null);
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({
      audio: false,
      video: { width: { ideal: 1280 }, height: { ideal: 720 },
        frameRate: { ideal: 60 } },
    });
  } catch (error) {
    complain(new Error("The webcam cannot be used: it is missing, in use, or was not "
      + `allowed (${error.name}). Choose a file instead.`));
    return;
  }
  const kinds = ["video/webm;codecs=vp8", "video/webm", "video/mp4"];
  const mimeType = kinds.find((kind) => MediaRecorder.isTypeSupported(kind));
  const chunks = [];
  recorder = new MediaRecorder(stream, { mimeType, videoBitsPerSecond: 8e6 });
  recorder.addEventListener("dataavailable", (event) => chunks.push(event.data));
  const began = performance.now();
  const clock = setInterval(() => {
    const seconds = Math.floor((performance.now() - began) / 1000);
    find("recorded").textContent = `Recording: ${seconds} s`;
  }, 250);
  recorder.addEventListener("stop", () => {
    clearInterval(clock);
    for (const track of stream.getTracks()) track.stop();
    find("preview").srcObject = null;
    showRecording(false);
    if (recorder.kept) {
      const time = new Date().toLocaleString("sv").replaceAll(":", ".");
      const suffix = recorder.mimeType.includes("mp4") ? "mp4" : "webm";
      send(new Blob(chunks, { type: recorder.mimeType }), `webcam ${time}.${suffix}`);
    }
    recorder = null;
  });
  find("preview").srcObject = stream;
  find("preview").play();
  showRecording(true);
  recorder.start(1000);
  find("stop").focus();
}

function showRecording(yes) {
  find("record").hidden = yes;
  for (const id of ["stop", "discard", "preview"]) find(id).hidden = !yes;
  find("recorded").textContent = "";
  if (!yes) find("record").focus();
}

find("record").addEventListener("click", record);
for (const [id, kept] of [["stop", true], ["discard", false]]) {
  find(id).addEventListener("click", () => {
    if (!recorder) return;
    recorder.kept = kept;
    recorder.stop();
  });
}

// The queue

let jobs = [];

async function refresh() {
  clearTimeout(refresh.timer);
  let wait = 3000;
  try {
    const state = await request("api/state");
    const before = new Map(jobs.map((job) => [job.id, job.state]));
    jobs = state.jobs;
    largest = state.largest;
    if (!runs.length) showRuns(state);
    for (const job of jobs) {
      const was = before.get(job.id);
      if (was && was !== job.state && ["done", "failed"].includes(job.state)) {
        say(job.state === "done" ? `${job.name} is ready.` : `${job.name} failed.`);
        if (job.state === "done" && !shown) open(job);
      }
    }
    if (jobs.some((job) => ["queued", "running"].includes(job.state))) wait = 500;
    if (refresh.lost) complain(null);
    refresh.lost = false;
  } catch (error) {
    refresh.lost = true;
    complain(error instanceof TypeError
      ? new Error("The server cannot be reached. Is it still running?") : error);
  }
  drawJobs();
  refresh.timer = setTimeout(refresh, wait);
}

function showRuns(state) {
  runs = state.runs;
  find("run").replaceChildren(...runs.map((run) => make("option", run.title,
    { value: run.id })));
  find("size-hint").textContent = "MP4, QuickTime, Matroska, WebM, AVI, MPEG, Windows "
    + `Media or Flash video, at most ${bytes(largest)}. A face should look towards the `
    + "camera, with its eyes at least 32 pixels apart.";
  describeRun();
}

function describeRun() {
  find("about-run").href = `runs/${find("run").value}`;
}
find("run").addEventListener("change", describeRun);

function duration(seconds) {
  if (seconds < 60) return `${Math.max(Math.round(seconds), 1)} s`;
  return `${Math.round(seconds / 60)} min`;
}

function drawJobs() {
  find("no-jobs").hidden = jobs.length + uploading.length > 0;
  const wanted = [
    ...uploading.map((one, index) => ({ id: `upload-${index}`, name: one.name,
      state: "uploading", share: one.share })),
    ...[...jobs].reverse(),
  ];
  const list = find("jobs");
  const rows = new Map([...list.children].map((row) => [row.dataset.id, row]));
  const kept = wanted.map((job) => rows.get(job.id) || jobRow(job));
  // Only if rows have changed, since a row that is moved loses the focus
  if (kept.length !== list.children.length
      || kept.some((row, index) => row !== list.children[index])) {
    list.replaceChildren(...kept);
  }
  wanted.forEach((job, index) => fillRow(kept[index], job));
}

function jobRow(job) {
  const row = make("li", "", { "data-id": job.id });
  const action = (name, work) => make("button", name, {
    type: "button", class: name.toLowerCase(), "aria-label": `${name} ${job.name}`,
    on: () => work().catch(complain),
  });
  row.append(
    make("span", job.name, { class: "name" }),
    make("span", "", { class: "what" }),
    make("progress", "", { max: 1, "aria-label": `Progress of ${job.name}` }),
    action("Open", async () => open(jobs.find((one) => one.id === job.id))),
    action("Cancel", async () => {
      await request(`api/jobs/${job.id}/cancel`, { method: "POST" });
      await refresh();
    }),
    action("Delete", async () => {
      const question = `Delete ${job.name} with its results and corrections?`;
      if (!window.confirm(question)) return;
      if (shown && shown.job.id === job.id) close();
      await request(`api/jobs/${job.id}`, { method: "DELETE" });
      say(`${job.name} was deleted.`);
      await refresh();
      find("recordings").focus();
    }),
  );
  return row;
}

function fillRow(row, job) {
  const active = ["uploading", "queued", "running"].includes(job.state);
  let what = job.error || STATES[job.state] || "";
  if (job.state === "uploading") what = "uploading";
  if (job.state === "running") what = STAGES[job.stage] || job.stage;
  if (job.seconds_left != null) what += `, about ${duration(job.seconds_left)} left`;
  if (job.run && runs.length > 1) what += ` · ${job.run}`;
  const text = row.querySelector(".what");
  if (text.textContent !== what) text.textContent = what;
  text.classList.toggle("failed", job.state === "failed");
  const bar = row.querySelector("progress");
  bar.hidden = !active || job.state === "queued";
  if (job.share == null) bar.removeAttribute("value");
  else bar.value = job.share;
  row.querySelector(".open").hidden = job.state !== "done";
  row.querySelector(".cancel").hidden = !["queued", "running"].includes(job.state);
  row.querySelector(".delete").hidden = job.state === "uploading";
  row.setAttribute("aria-current", String(Boolean(shown && shown.job.id === job.id)));
}

// A result

const video = find("video");

async function open(job) {
  complain(null);
  const address = `api/jobs/${job.id}`;
  const [result, saved] = await Promise.all([
    request(`${address}/result`), request(`${address}/corrections`),
  ]);
  const corrections = new Map(result.events.map((event) => [event.number,
    { number: event.number, verdict: "open", onset: null, offset: null }]));
  for (const one of saved) corrections.set(one.number, one);
  shown = { job, result, corrections, selected: null, face: null, address };
  now = 0;
  find("result").hidden = false;
  find("result-title").textContent = job.name;
  find("caution").textContent = result.caution;
  find("notes").replaceChildren(...result.notes.map((note) => make("li", note)));
  const limits = result.recogniser ? result.recogniser.limits : [];
  find("limits").replaceChildren(...limits.map((limit) => make("li", limit)));
  find("no-video").hidden = true;
  video.hidden = false;
  video.src = `${address}/video`;
  find("face").replaceChildren(...result.faces.map((face) => make("option",
    String(face.identity), { value: face.identity })));
  find("face-field").hidden = result.faces.length < 2;
  shown.face = result.faces.length ? result.faces[0] : null;
  find("zoom").value = result.duration > 60 ? "60" : "0";
  find("timeline").setAttribute("aria-valuemax", result.duration.toFixed(3));
  drawCandidates();
  drawJobs();
  resize();
  goTo(0);
  find("result-title").focus({ preventScroll: true });
  find("result").scrollIntoView({ block: "start" });
}

function close() {
  shown = null;
  video.removeAttribute("src");
  video.load();
  find("result").hidden = true;
}

video.addEventListener("error", () => {
  if (!video.getAttribute("src")) return;
  find("no-video").hidden = false;
  video.hidden = true;
});

const known = (event) => {
  const one = shown.corrections.get(event.number);
  return {
    verdict: one.verdict,
    onset: one.onset ?? event.onset.time,
    offset: one.offset ?? event.offset.time,
    moved: one.onset != null,
  };
};

const eventOf = (number) => shown.result.events.find((one) => one.number === number);

// The frame that is shown at a time: analysed frames, and those evenly between them
function frameAt(time) {
  const { times, numbers } = shown.result;
  if (!times.length) return 1;
  let low = 0;
  let high = times.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (times[middle] <= time) low = middle; else high = middle;
  }
  const span = times[high] - times[low];
  const part = span ? Math.min(Math.max((time - times[low]) / span, 0), 1) : 0;
  return Math.round(numbers[low] + part * (numbers[high] - numbers[low]));
}

// The time at which a frame is shown first
function timeOf(frame) {
  const { times, numbers } = shown.result;
  if (!times.length) return 0;
  let low = 0;
  let high = numbers.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (numbers[middle] <= frame) low = middle; else high = middle;
  }
  const span = numbers[high] - numbers[low];
  const part = span ? (frame - numbers[low]) / span : 0;
  return times[low] + part * (times[high] - times[low]);
}

function frameLength() {
  const { frame_rate: rate, times } = shown.result;
  if (rate) return 1 / rate;
  return times.length > 1 ? times.at(-1) / (times.length - 1) : 1 / 30;
}

// Goes to the frame nearest to a time, so that picture, label and export agree
function goTo(time) {
  now = timeOf(frameAt(Math.min(Math.max(time, 0), shown.result.duration)));
  // A little into the frame, so that rounding does not show the one before
  if (!video.hidden) video.currentTime = now + 0.2 * frameLength();
  showTime();
}

function showTime() {
  const text = `${now.toFixed(3)} s, frame ${frameAt(now)}`;
  find("position").textContent = text;
  find("timeline").setAttribute("aria-valuenow", now.toFixed(3));
  find("timeline").setAttribute("aria-valuetext", text);
  drawTimeline();
}

// Called for each frame that the browser shows, where it can say so
function follow(time) {
  if (!shown || video.seeking || Math.abs(time - now) < 1e-4) return;
  if (video.paused && Math.abs(time - now) < frameLength()) return;
  now = Math.min(time, shown.result.duration);
  showTime();
}
if (video.requestVideoFrameCallback) {
  const next = (_clock, frame) => {
    follow(frame.mediaTime);
    video.requestVideoFrameCallback(next);
  };
  video.requestVideoFrameCallback(next);
} else {
  const next = () => {
    follow(video.currentTime);
    requestAnimationFrame(next);
  };
  requestAnimationFrame(next);
}
video.addEventListener("seeked", () => follow(video.currentTime));

// Candidates

function drawCandidates() {
  const { events } = shown.result;
  find("candidates-title").textContent = `Candidates (${events.length})`;
  find("candidates").replaceChildren(...events.map(candidateItem));
  events.forEach(fillCandidate);
}

function candidateItem(event) {
  const item = make("li", "", { "data-number": event.number });
  const faces = shown.result.faces.length > 1 ? `, face ${event.face}` : "";
  item.append(
    make("button", `${event.number}: ${event.what}${faces}`, {
      type: "button", class: "go",
      on: () => { select(event.number); goTo(known(event).onset); },
    }),
    make("p", "", { class: "times number" }),
    make("p", event.resembles || (event.kind === "macro"
      ? "not recognised: longer than 0.5 s" : ""), { class: "answer" }),
  );
  const about = [event.regions.length && `moves: ${event.regions.join(", ")}`,
    event.flags.length && `also: ${event.flags.join(", ")}`].filter(Boolean).join("; ");
  item.append(make("p", about, { class: "hint" }));
  item.append(decisions(event));
  const more = make("details");
  more.append(make("summary", "Probabilities and pictures"));
  more.addEventListener("toggle", () => {
    if (more.open && more.children.length === 1) more.append(...evidence(event));
  });
  if (event.recognition || event.strip) item.append(more);
  return item;
}

function decisions(event) {
  const row = make("div", "", { class: "decide", role: "group",
    "aria-label": `Decision on candidate ${event.number}` });
  for (const [name, verdict] of [["Accept", "accepted"], ["Reject", "rejected"]]) {
    row.append(make("button", name, { type: "button", "data-verdict": verdict,
      on: () => { select(event.number); decide(event, verdict); } }));
  }
  for (const name of ["onset", "offset"]) {
    const label = make("label", `${name} `);
    const input = make("input", "", { type: "number", step: "0.001", min: 0,
      max: shown.result.duration.toFixed(3), "data-side": name,
      "aria-label": `${name} of candidate ${event.number} in seconds` });
    input.addEventListener("change", () => {
      select(event.number);
      move(event, name, input.valueAsNumber);
    });
    label.append(input);
    row.append(label);
  }
  row.append(make("button", "Machine's", { type: "button", class: "reset",
    "aria-label": `Machine's interval of candidate ${event.number}`,
    on: () => change(event, { onset: null, offset: null }) }));
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
      const coverage = shown.result.recogniser.coverage;
      parts.push(make("p", `Plausible: ${found.plausible.join(", ") || "none"}`
        + (coverage ? ` (has the class of ${Math.round(100 * coverage)} % of clips `
          + "like those of the calibration; not of other cameras or people)" : "")));
    }
    parts.push(make("p", `${found.distinct} of ${found.frames} frames of the clip are `
      + "distinct.", { class: "hint" }));
  }
  for (const reason of event.reasons) parts.push(make("p", `No answer: ${reason}.`));
  const pictures = make("div", "", { class: "pictures" });
  const name = `${shown.address}/pictures/${String(event.number).padStart(4, "0")}`;
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
  parts.push(pictures);
  return parts;
}

function fillCandidate(event) {
  const item = find("candidates").querySelector(`[data-number="${event.number}"]`);
  const one = known(event);
  item.className = one.verdict;
  item.classList.toggle("selected", event.number === shown.selected);
  let times = `${one.onset.toFixed(3)} to ${one.offset.toFixed(3)} s, apex `
    + `${event.apex.time.toFixed(3)} s (frame ${event.apex.frame})`;
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

function select(number) {
  const before = shown.selected;
  shown.selected = number;
  const event = eventOf(number);
  if (shown.face && event.face && shown.face.identity !== event.face) {
    shown.face = shown.result.faces.find((one) => one.identity === event.face);
    find("face").value = event.face;
  }
  if (before) fillCandidate(eventOf(before));
  fillCandidate(event);
  find("candidates").querySelector(`[data-number="${number}"]`)
    .scrollIntoView({ block: "nearest" });
  drawTimeline();
}

function decide(event, verdict) {
  const same = shown.corrections.get(event.number).verdict === verdict;
  change(event, { verdict: same ? "open" : verdict });
}

function move(event, side, time) {
  const { onset, offset } = known(event);
  const changed = { onset, offset };
  if (Number.isFinite(time)) {
    const wanted = Math.min(Math.max(time, 0), shown.result.duration);
    changed[side] = side === "onset"
      ? Math.min(wanted, offset) : Math.max(wanted, onset);
  }
  change(event, changed);
}

function change(event, changes, save = true) {
  Object.assign(shown.corrections.get(event.number), changes);
  fillCandidate(event);
  drawTimeline();
  if (save) saveCorrections(event);
}

// One after another, so that the last one is kept
let saving = Promise.resolve();

function saveCorrections(event) {
  const { address, corrections } = shown;
  const said = known(event);
  const body = JSON.stringify([...corrections.values()]);
  saving = saving.then(async () => {
    await request(`${address}/corrections`, { method: "PUT", body });
    say(`Candidate ${event.number}: ${said.verdict === "open" ? "not decided"
      : said.verdict}, ${said.onset.toFixed(3)} to ${said.offset.toFixed(3)} s, saved`);
  }).catch(complain);
}

find("export").addEventListener("click", async (event) => {
  const button = event.currentTarget;
  button.disabled = true;
  say("The files are being written.");
  try {
    const { address } = shown;
    await saving;
    await request(`${address}/export`, { method: "POST" });
    make("a", "", { href: `${address}/export.zip`, download: "" }).click();
    say("The files are in your downloads.");
  } catch (error) {
    complain(error);
  }
  button.disabled = false;
});

// The timeline

const canvas = find("timeline");
const LABELS = 52; // pixels on the left
const BANDS = 34; // pixels of the candidates above the motion
const AXIS = 20; // pixels of the times below it
let view = { from: 0, to: 1 };
let still = { canvas: document.createElement("canvas"), key: "" };

function resize() {
  if (!shown) return;
  const scale = window.devicePixelRatio || 1;
  canvas.width = Math.round(canvas.clientWidth * scale);
  canvas.height = Math.round(canvas.clientHeight * scale);
  still.key = "";
  drawTimeline();
}
new ResizeObserver(resize).observe(canvas);

function setView() {
  const total = Math.max(shown.result.duration, 0.001);
  const length = Number(find("zoom").value) || total;
  if (length >= total) {
    view = { from: 0, to: total };
  } else if (view.to - view.from !== length || now < view.from || now > view.to) {
    const from = Math.min(Math.max(now - length / 4, 0), total - length);
    view = { from, to: from + length };
  }
}

const x = (time) => LABELS
  + (time - view.from) / (view.to - view.from) * (canvas.clientWidth - LABELS - 6);
const timeAt = (place) => view.from
  + (place - LABELS) / (canvas.clientWidth - LABELS - 6) * (view.to - view.from);
const colour = (name) => getComputedStyle(document.documentElement)
  .getPropertyValue(`--${name}`).trim();

// What does not change while the video plays is drawn once.
function drawTimeline() {
  if (!shown || !canvas.width) return;
  setView();
  const key = JSON.stringify([view, shown.selected, shown.face && shown.face.identity,
    canvas.width, [...shown.corrections.values()], colour("text"), shown.job.id]);
  if (key !== still.key) {
    still.key = key;
    still.canvas.width = canvas.width;
    still.canvas.height = canvas.height;
    drawStill(still.canvas.getContext("2d"));
  }
  const context = canvas.getContext("2d");
  const scale = canvas.width / canvas.clientWidth;
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.clearRect(0, 0, canvas.width, canvas.height);
  context.drawImage(still.canvas, 0, 0);
  context.scale(scale, scale);
  context.strokeStyle = colour("head");
  context.lineWidth = 2;
  context.beginPath();
  context.moveTo(x(now), 0);
  context.lineTo(x(now), canvas.clientHeight);
  context.stroke();
}

function drawStill(context) {
  const scale = canvas.width / canvas.clientWidth;
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, canvas.clientWidth, canvas.clientHeight);
  context.font = "12px system-ui, sans-serif";
  drawAxis(context);
  drawBands(context);
  if (shown.face) drawMotion(context);
}

function drawAxis(context) {
  const wide = (view.to - view.from) / ((canvas.clientWidth - LABELS) / 70);
  const step = [0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600]
    .find((one) => one >= wide) || 7200;
  context.textAlign = "center";
  context.lineWidth = 1;
  for (let n = Math.ceil(view.from / step); n * step <= view.to; n += 1) {
    const at = x(n * step);
    context.strokeStyle = colour("line");
    context.beginPath();
    context.moveTo(at, BANDS);
    context.lineTo(at, canvas.clientHeight - AXIS);
    context.stroke();
    context.fillStyle = colour("soft");
    const text = `${Number((n * step).toFixed(2))} s`;
    const half = context.measureText(text).width / 2;
    context.fillText(text, Math.min(at, canvas.clientWidth - half - 2),
      canvas.clientHeight - 5);
  }
}

function drawBands(context) {
  const bottom = canvas.clientHeight - AXIS;
  context.save();
  context.beginPath();
  context.rect(LABELS, 0, canvas.clientWidth - LABELS, canvas.clientHeight);
  context.clip();
  for (const event of shown.result.events) {
    const one = known(event);
    if (one.offset < view.from || one.onset > view.to) continue;
    const other = shown.face && event.face !== shown.face.identity;
    const left = x(one.onset);
    const width = Math.max(x(one.offset) - left, 3);
    context.globalAlpha = other ? 0.35 : 1;
    context.fillStyle = colour(one.verdict);
    context.fillRect(left, 18, width, 12);
    context.globalAlpha = other ? 0.06 : 0.16;
    context.fillRect(left, BANDS, width, bottom - BANDS);
    context.globalAlpha = other ? 0.5 : 1;
    context.fillStyle = colour("text");
    context.textAlign = "left";
    context.fillText(event.number + MARKS[one.verdict], left, 13);
    if (event.flags.length) { // a mark of what else happens at the same time
      context.textAlign = "right";
      context.fillText("⚑", left + width, 13);
    }
    context.strokeStyle = colour(one.verdict);
    context.setLineDash([2, 2]);
    context.lineWidth = 1;
    context.beginPath();
    context.moveTo(x(event.apex.time), BANDS);
    context.lineTo(x(event.apex.time), bottom);
    context.stroke();
    context.setLineDash([]);
    if (event.number === shown.selected) {
      context.lineWidth = 2;
      context.strokeRect(left, 17, width, bottom - 17);
      context.fillStyle = colour(one.verdict);
      for (const edge of [left, left + width]) context.fillRect(edge - 3, 15, 6, 18);
    }
    context.globalAlpha = 1;
  }
  context.restore();
}

function drawMotion(context) {
  const { face } = shown;
  const { times } = shown.result;
  const bottom = canvas.clientHeight - AXIS;
  const height = (bottom - BANDS) / PARTS.length;
  let most = 0.02;
  for (const part of PARTS) {
    for (const value of face.motion[part]) if (value > most) most = value;
  }
  PARTS.forEach((part, row) => {
    const base = BANDS + (row + 1) * height - 3;
    context.fillStyle = colour("soft");
    context.textAlign = "right";
    context.fillText(part === "eye" ? "eyes" : part === "brow" ? "brows" : part,
      LABELS - 6, base - 2);
    context.strokeStyle = colour("motion");
    context.lineWidth = 1.3;
    context.beginPath();
    // Where there are more frames than pixels, the largest motion in each counts.
    let pen = false;
    let column = -1;
    let top = 0;
    const values = face.motion[part];
    const put = () => {
      const y = base - top / most * (height - 8);
      if (pen) context.lineTo(column, y); else context.moveTo(column, y);
      pen = true;
    };
    for (let n = 0; n < values.length; n += 1) {
      const time = times[face.first + n];
      if (time < view.from || time > view.to) continue;
      if (values[n] === null) { // the face was not seen
        if (column >= 0) put();
        pen = false;
        column = -1;
        continue;
      }
      const place = Math.round(2 * x(time)) / 2;
      if (place !== column) {
        if (column >= 0) put();
        column = place;
        top = values[n];
      } else if (values[n] > top) {
        top = values[n];
      }
    }
    if (column >= 0) put();
    context.stroke();
  });
}

// Dragging: an edge of the selected candidate, or the time
let dragged = null;

canvas.addEventListener("pointerdown", (pointer) => {
  if (!shown) return;
  canvas.setPointerCapture(pointer.pointerId);
  dragged = { side: null };
  if (shown.selected) {
    const one = known(eventOf(shown.selected));
    for (const side of ["onset", "offset"]) {
      if (Math.abs(x(one[side]) - pointer.offsetX) <= 7) dragged.side = side;
    }
  }
  if (!dragged.side && pointer.offsetY < BANDS) {
    const time = timeAt(pointer.offsetX);
    const event = shown.result.events.find((candidate) => {
      const one = known(candidate);
      const near = 4 * (view.to - view.from) / canvas.clientWidth;
      return one.onset - near <= time && time <= one.offset + near;
    });
    if (event) select(event.number);
  }
  drag(pointer);
});
canvas.addEventListener("pointermove", (pointer) => {
  if (dragged) drag(pointer);
});
for (const kind of ["pointerup", "pointercancel"]) {
  canvas.addEventListener(kind, () => {
    if (dragged && dragged.side) saveCorrections(eventOf(shown.selected));
    dragged = null;
  });
}

function drag(pointer) {
  const time = timeOf(frameAt(timeAt(pointer.offsetX)));
  if (dragged.side) {
    const event = eventOf(shown.selected);
    const { onset, offset } = known(event);
    const changes = dragged.side === "onset"
      ? { onset: Math.min(time, offset), offset }
      : { onset, offset: Math.max(time, onset) };
    change(event, changes, false);
    goTo(changes[dragged.side]);
  } else {
    goTo(time);
  }
}

find("zoom").addEventListener("change", drawTimeline);
find("face").addEventListener("change", () => {
  const identity = Number(find("face").value);
  shown.face = shown.result.faces.find((one) => one.identity === identity);
  drawTimeline();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawTimeline);

// Keys

function step(frames) {
  video.pause();
  goTo(timeOf(frameAt(now) + frames));
}

function neighbour(direction) {
  const { events } = shown.result;
  const at = events.findIndex((one) => one.number === shown.selected);
  const start = direction > 0 ? 0 : events.length - 1;
  const event = events[at < 0 ? start : at + direction];
  if (!event) return;
  video.pause();
  select(event.number);
  goTo(known(event).onset);
}

function ofSelected(work) {
  if (shown.selected) work(eventOf(shown.selected));
  else say("Select a candidate first: N selects the next one.");
}

const KEYS = {
  " ": () => { if (video.paused) video.play(); else video.pause(); },
  arrowleft: (event) => step(event.shiftKey ? -10 : -1),
  arrowright: (event) => step(event.shiftKey ? 10 : 1),
  n: () => neighbour(1),
  p: () => neighbour(-1),
  a: () => ofSelected((one) => change(one, { verdict: "accepted" })),
  r: () => ofSelected((one) => change(one, { verdict: "rejected" })),
  u: () => ofSelected((one) => change(one, { verdict: "open" })),
  i: () => ofSelected((one) => move(one, "onset", now)),
  o: () => ofSelected((one) => move(one, "offset", now)),
};

document.addEventListener("keydown", (event) => {
  if (!shown || event.ctrlKey || event.altKey || event.metaKey) return;
  const on = event.target;
  const timeline = on === canvas;
  if (!timeline && !find("keys").checked) return;
  if (on.closest("input:not([type=checkbox]), select, textarea")) return;
  const key = event.key.toLowerCase();
  // These elements use the space bar themselves.
  if (key === " " && on.closest("button, summary, a, input, video")) return;
  if (key.startsWith("arrow") && on === video) return;
  if (timeline && (key === "home" || key === "end")) {
    event.preventDefault();
    goTo(key === "home" ? 0 : shown.result.duration);
    return;
  }
  const work = KEYS[key];
  if (!work) return;
  event.preventDefault();
  work(event);
});

refresh();
