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

// Says something that goes away by itself.
export function say(text) {
  find("status").textContent = text;
  clearTimeout(say.timer);
  say.timer = setTimeout(() => { find("status").textContent = ""; }, 4000);
}

// Shows an error until the next action, or clears the last one with null.
export function complain(error) {
  find("message").textContent = error ? error.message : "";
}

// Shows an error after those that are shown.
export function complainToo(error) {
  find("message").append(make("span", `${error.message} `));
}

export const gigabytes = (size) => `${Number((size / 1e9).toPrecision(2))} GB`;

export function duration(seconds) {
  if (seconds < 60) return `${Math.max(Math.round(seconds), 1)} s`;
  return `${Math.round(seconds / 60)} min`;
}
