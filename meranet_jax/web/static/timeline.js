// The timeline: motion of the face, and the candidates above it.

import { MARKS } from "./candidates.js";
import { known } from "./corrections.js";
import { find } from "./dom.js";
import { last } from "./player.js";
import { state, on } from "./state.js";

const PARTS = { brow: "brows", eye: "eyes", nose: "nose", mouth: "mouth" };

export const canvas = find("timeline");
const LABELS = 52; // pixels on the left
const LONG_LABELS = 128; // the same for names of regions
export const BANDS = 34; // pixels of the candidates above the motion
const NUMBERS = 16; // pixels of the numbers of candidates
const AXIS = 20; // pixels of the times below it
const END = 6; // pixels on the right
let view = { from: 0, to: 1 };
const still = { canvas: document.createElement("canvas"), key: "" };

const labels = () => (state.shown.regions ? LONG_LABELS : LABELS);

export function resize() {
  if (!state.shown) return;
  const scale = window.devicePixelRatio || 1;
  canvas.width = Math.round(canvas.clientWidth * scale);
  canvas.height = Math.round(canvas.clientHeight * scale);
  still.key = "";
  draw();
}

function setView() {
  const total = Math.max(last(), 0.001);
  // Under a pointer that is pressed, places keep their times.
  if (state.shown.held) return;
  const length = Number(find("zoom").value) || total;
  if (length >= total) {
    view = { from: 0, to: total };
  } else if (view.to - view.from !== length
      || state.now < view.from || state.now > view.to) {
    const from = Math.min(Math.max(state.now - length / 4, 0), total - length);
    view = { from, to: from + length };
  }
}

export const x = (time) => labels()
  + (time - view.from) / (view.to - view.from) * (canvas.clientWidth - labels() - END);
export function timeAt(place) {
  const width = canvas.clientWidth - labels() - END;
  const share = Math.min(Math.max((place - labels()) / width, 0), 1);
  return view.from + share * (view.to - view.from);
}
const colour = (name) => getComputedStyle(document.documentElement)
  .getPropertyValue(`--${name}`).trim();

// What does not change while the video plays is drawn once.
export function draw() {
  if (!state.shown || !canvas.width) return;
  setView();
  const { shown } = state;
  const key = JSON.stringify([view, shown.selected, shown.face && shown.face.identity,
    Boolean(shown.regions), canvas.width, canvas.height,
    [...shown.corrections.values()], colour("text"), shown.job.id]);
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
  context.moveTo(x(state.now), NUMBERS); // the numbers of candidates stay legible
  context.lineTo(x(state.now), canvas.clientHeight);
  context.stroke();
}

function drawStill(context) {
  const scale = canvas.width / canvas.clientWidth;
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, canvas.clientWidth, canvas.clientHeight);
  context.font = "12px system-ui, sans-serif";
  drawAxis(context);
  drawBands(context);
  if (state.shown.face) drawMotion(context);
}

function drawAxis(context) {
  const wide = (view.to - view.from) / ((canvas.clientWidth - labels()) / 70);
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
  context.rect(labels(), 0, canvas.clientWidth - labels(), canvas.clientHeight);
  context.clip();
  for (const event of state.shown.result.events) {
    const one = known(event);
    if (one.offset < view.from || one.onset > view.to) continue;
    const other = state.shown.face && event.face !== state.shown.face.identity;
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
    if (event.number === state.shown.selected) {
      context.lineWidth = 2;
      context.strokeRect(left, 17, width, bottom - 17);
      context.fillStyle = colour(one.verdict);
      for (const edge of [left, left + width]) context.fillRect(edge - 3, 15, 6, 18);
    }
    context.globalAlpha = 1;
  }
  context.restore();
}

// Rows of the motion: what each is called, and its value in a frame, or null
function rows() {
  const { face, regions } = state.shown;
  if (!regions) {
    return Object.entries(PARTS).map(([name, title]) => ({ title,
      count: face.motion[name].length, value: (n) => face.motion[name][n] }));
  }
  const width = face.regions.length;
  return face.regions.map(({ title }, column) => ({ title,
    count: regions.length / width,
    value: (n) => {
      const value = regions[n * width + column];
      return Number.isNaN(value) ? null : value;
    } }));
}

function drawMotion(context) {
  const bottom = canvas.clientHeight - AXIS;
  const drawn = rows();
  const height = (bottom - BANDS) / drawn.length;
  let most = 0.02;
  for (const row of drawn) {
    for (let n = 0; n < row.count; n += 1) most = Math.max(most, row.value(n) ?? 0);
  }
  drawn.forEach((row, index) => {
    const base = BANDS + (index + 1) * height - 3;
    context.fillStyle = colour("soft");
    context.textAlign = "right";
    context.fillText(row.title, labels() - 6, base - 2);
    context.strokeStyle = colour("motion");
    context.lineWidth = 1.3;
    drawLine(context, row, (value) => base - value / most * (height - 8));
  });
}

// Where there are more frames than pixels, the largest motion in each counts.
function drawLine(context, row, y) {
  const { times } = state.shown.result;
  const { first } = state.shown.face;
  let pen = false;
  let column = -1;
  let top = 0;
  const put = () => {
    if (pen) context.lineTo(column, y(top)); else context.moveTo(column, y(top));
    pen = true;
  };
  context.beginPath();
  for (let n = 0; n < row.count; n += 1) {
    const time = times[first + n];
    if (time < view.from || time > view.to) continue;
    const value = row.value(n);
    if (value === null) { // the face was not seen
      if (column >= 0) put();
      pen = false;
      column = -1;
      continue;
    }
    const place = Math.round(2 * x(time)) / 2;
    if (place !== column) {
      if (column >= 0) put();
      column = place;
      top = value;
    } else if (value > top) {
      top = value;
    }
  }
  if (column >= 0) put();
  context.stroke();
}

export function start() {
  new ResizeObserver(resize).observe(canvas);
  find("zoom").addEventListener("change", draw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  for (const name of ["now", "selected", "correction", "corrections", "face"]) {
    on(name, draw);
  }
  on("shown", () => {
    if (!state.shown) return;
    canvas.setAttribute("aria-valuemax", last().toFixed(3));
    resize();
  });
}
