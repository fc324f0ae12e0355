// Elements of the page, messages, and numbers as text.

export const find = (id) => document.getElementById(id);

// An element with text or elements, never markup, and what is done when it is clicked
export function make(name, content = "", attributes = {}) {
  const element = document.createElement(name);
  element.append(...[content].flat());
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "on") element.addEventListener("click", value);
    else element.setAttribute(key, value);
  }
  return element;
}

// Says something that goes away by itself, or takes back what was said last.
export function say(text) {
  find("status").textContent = text;
  clearTimeout(say.timer);
  say.timer = setTimeout(() => { find("status").textContent = ""; }, 4000);
}

// Shows an error until the next action, or clears all with null.
export function complain(error) {
  find("message").replaceChildren();
  find("message-box").hidden = true;
  if (error) complainToo(error);
}

// Shows an error below those that are shown.
export function complainToo(error) {
  if (find("status")) say(""); // it was about what has failed, or an earlier success
  find("message-box").hidden = false;
  find("message").append(make("p", error.message));
}

// Lets the user close the errors, who goes on where they were before.
export function startMessages() {
  const button = find("close-message");
  let before = null;
  button.addEventListener("focus", (event) => { before = event.relatedTarget; });
  const close = () => {
    const focused = document.activeElement === button;
    complain(null);
    const next = before && before.isConnected ? before : find("recordings");
    if (focused) next.focus({ preventScroll: true });
  };
  button.addEventListener("click", close);
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !find("message-box").hidden) close();
  });
}

export const gigabytes = (size) => `${Number((size / 1e9).toPrecision(2))} GB`;

export function duration(seconds) {
  if (seconds < 60) return `${Math.max(Math.round(seconds), 1)} s`;
  return `${Math.round(seconds / 60)} min`;
}
