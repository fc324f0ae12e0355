// What the page knows, and who is told when it changes.

export const state = {
  jobs: [], // recordings on the server
  runs: [], // recognisers
  largest: Infinity, // bytes of an upload
  shown: null, // the recording that is open; see review.js
  now: 0, // seconds in it
};

const listeners = new Map();

// Calls `work` when something of this name has changed.
export function on(name, work) {
  listeners.set(name, [...(listeners.get(name) || []), work]);
}

export function tell(name, ...values) {
  for (const work of listeners.get(name) || []) work(...values);
}
