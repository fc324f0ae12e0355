// Requests to the server.

export class Refused extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

const UNREACHABLE = "The server cannot be reached. If it was stopped, start it again, "
  + "and open the address that it prints. Without --keep, it has deleted its "
  + "recordings.";

async function send(path, options) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Refused(UNREACHABLE, 0);
  }
  if (!answer.ok) {
    const said = await answer.json().catch(() => ({}));
    throw new Refused(said.error || `The server answered ${answer.status}.`,
      answer.status);
  }
  return answer;
}

// Whether the server answers, and has this file
export async function answers(path) {
  try {
    await send(path, { method: "HEAD" });
    return true;
  } catch {
    return false;
  }
}

export async function request(path, options = {}) {
  const answer = await send(path, options);
  return answer.status === 204 ? null : answer.json();
}

// Numbers of one kind, such as Float64Array; the server sends the lowest byte first.
export async function numbers(path, Kind) {
  return new Kind(await (await send(path)).arrayBuffer());
}

// Sends a file, and calls `progress` with the share that was sent.
export function upload(path, blob, progress) {
  return new Promise((resolve, reject) => {
    // fetch does not say how much was sent.
    const sent = new XMLHttpRequest();
    sent.open("POST", path);
    sent.upload.addEventListener("progress", (event) => {
      if (event.lengthComputable) progress(event.loaded / event.total);
    });
    sent.addEventListener("loadend", () => {
      if (sent.status === 201) {
        resolve(JSON.parse(sent.responseText));
        return;
      }
      let reason = UNREACHABLE;
      try { reason = JSON.parse(sent.responseText).error; } catch { /* none */ }
      reject(new Refused(reason, sent.status));
    });
    sent.send(blob);
  });
}
