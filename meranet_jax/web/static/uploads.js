// Files that are sent to the server. What could not be sent is kept until it is sent,
// saved or discarded, since a recording of the webcam exists here only.

import { complain, complainToo, find, gigabytes, say } from "./dom.js";
import { upload } from "./requests.js";
import { state, tell } from "./state.js";

// {name, blob, recorded, share, error}; an error if it was not sent
export const uploads = [];

export async function add(blob, name, recorded = false) {
  if (!recorded && blob.size > state.largest) {
    complainToo(new Error(`${name} is larger than ${gigabytes(state.largest)}. Cut it `
      + "into parts."));
    return;
  }
  const one = { name, blob, recorded, share: 0, error: "" };
  uploads.push(one);
  await send(one);
}

export async function send(one) {
  one.error = "";
  one.share = 0;
  tell("uploads");
  const query = new URLSearchParams({ name: one.name });
  const run = find("run").value;
  if (run) query.set("run", run); // the server has not said yet which there are
  if (one.recorded) query.set("recorded", "");
  try {
    await upload(`api/jobs?${query}`, one.blob, (share) => {
      one.share = share;
      tell("uploads");
    });
    discard(one);
    say(`${one.name} is in the queue.`);
  } catch (error) {
    one.error = `not sent: ${error.message}`;
    complainToo(new Error(`${one.name}: ${error.message}`));
    // A file that the server does not take is still on the disk of the user.
    if (!one.recorded && error.status >= 400 && error.status < 500) discard(one);
  }
  tell("uploads");
  tell("refresh");
}

export function discard(one) {
  uploads.splice(uploads.indexOf(one), 1);
  tell("uploads");
}

// Gives a recording to the user as a file.
export function save(one) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(one.blob);
  link.download = one.name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

async function addAll(files) {
  complain(null);
  for (const file of files) await add(file, file.name);
}

export function start() {
  find("file").addEventListener("change", async (event) => {
    const files = [...event.target.files];
    event.target.value = "";
    await addAll(files);
  });
  for (const kind of ["dragover", "drop", "dragleave"]) {
    document.addEventListener(kind, (event) => {
      if (!event.dataTransfer.types.includes("Files")) return;
      event.preventDefault();
      find("drop").classList.toggle("over", kind === "dragover");
      if (kind === "drop") addAll([...event.dataTransfer.files]);
    });
  }
  window.addEventListener("beforeunload", (event) => {
    if (uploads.length) event.preventDefault();
  });
}
