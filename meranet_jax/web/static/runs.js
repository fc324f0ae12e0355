// The page of runs: a list, one run (runs?run=ID), or two compared
// (runs?run=ID&with=ID).

import { complain, find } from "./dom.js";
import { showCompared } from "./runs_compared.js";
import { showList } from "./runs_list.js";
import { showRun } from "./runs_one.js";

async function show() {
  const query = new URLSearchParams(location.search);
  const [id, other] = [query.get("run"), query.get("with")];
  find("to-list").hidden = !id;
  let view = "list";
  try {
    if (id && other) {
      view = "compared";
      await showCompared(id, other);
    } else if (id) {
      view = "run";
      await showRun(id);
    } else {
      await showList();
    }
    find(view).hidden = false;
  } catch (error) {
    find("to-list").hidden = false;
    complain(error);
  }
  find("loading").hidden = true;
}

show();
