// The page of recordings: starts its parts.

import * as candidates from "./candidates.js";
import * as corrections from "./corrections.js";
import { startMessages } from "./dom.js";
import * as dragging from "./dragging.js";
import * as keys from "./keys.js";
import * as player from "./player.js";
import * as recordings from "./recordings.js";
import * as review from "./review.js";
import * as timeline from "./timeline.js";
import * as uploads from "./uploads.js";
import * as webcam from "./webcam.js";

startMessages();
player.prepare();
webcam.prepare();
for (const part of [uploads, recordings, review, candidates, corrections,
  timeline, dragging, keys]) part.start();
recordings.refresh();
