"""A recording of the page: what is asked for, and how far it is."""

import asyncio
import dataclasses
import json
import re
import time
from pathlib import Path
from typing import Any, Literal

from meranet_jax import files
from meranet_jax.web.job_files import JobFiles
from meranet_jax.web.limits import Limits

State = Literal["queued", "running", "done", "failed", "cancelled"]

# Names of files of recordings
_VIDEO = re.compile(r"video\.\w{2,4}")

# What job.json has
_SAVED = (
    *("video", "name", "number", "run", "run_path", "recorded", "added"),
    *("state", "error", "unusable", "faces"),
)

# What it does not have in folders that an earlier version has kept
_LATER = {"number": 1, "unusable": False, "faces": None}


@dataclasses.dataclass
class Job:
    """A recording.

    Attributes:
      identity: generated.
      files: of the recording.
      video: name of its file.
      name: of the video as the browser names it, without unusual characters.
      number: of the recording among those of this name without its suffix, from 1.
      run: title of the recogniser.
      run_path: its folder; None for the weights of the package.
      recorded: whether it was made with the webcam.
      added: when it was, in seconds since 1970.
      state: see ``State``.
      stage: name of the stage of the work.
      done: how far the stage is: seconds of the recording, or number of candidates;
        None if it is not known.
      total: how far it goes, likewise.
      started: clock when the stage began, in seconds.
      error: one sentence, if it failed.
      unusable: whether it failed because of the video, so that it would fail again.
      faces: number of faces that were found; None if it is not known.
      process: the worker, while there is one.
      lock: held while a worker writes files of the job, and while they are deleted.
      revision: how often corrections were saved.
      exported: the revision that the file of all results has; None if there is none.
      intervals: onset and offset of each candidate, once they have been read.
      duration: in seconds, likewise.
    """

    identity: str
    files: JobFiles
    video: str
    name: str
    run: str
    run_path: str | None
    number: int = 1
    recorded: bool = False
    added: float = dataclasses.field(default_factory=time.time)
    state: State = "queued"
    stage: str = ""
    done: float | None = None
    total: float | None = None
    started: float = 0.0
    error: str = ""
    unusable: bool = False
    faces: int | None = None
    process: asyncio.subprocess.Process | None = None
    lock: asyncio.Lock = dataclasses.field(default_factory=asyncio.Lock)
    revision: int = 0
    exported: int | None = None
    intervals: dict[int, tuple[float, float]] | None = None
    duration: float = 0.0

    @property
    def title(self) -> str:
        """What the recording is called on the page."""
        return numbered(self.name, self.number)

    @property
    def stem(self) -> str:
        """Name of the video without its suffix."""
        return Path(self.name).stem

    @property
    def export_name(self) -> str:
        """Name of the exported zip file without its suffix, and of its folder."""
        return numbered(self.stem, self.number)

    @property
    def share(self) -> float | None:
        """How far the stage is, 0 to 1; None if it is not known."""
        if self.done is None or not self.total or self.total < 0:
            return None
        return min(max(self.done / self.total, 0.0), 1.0)

    def begin(self, stage: str) -> None:
        """Begins a stage; an empty name ends the last one."""
        self.stage, self.started = stage, time.monotonic()
        self.done = self.total = None

    def shown(self) -> dict[str, Any]:
        """Returns what the page shows."""
        left = None
        # Only the measurement takes equal times for equal parts of a recording.
        known = self.stage == "motion" and (self.share or 0) > 0.02
        if self.state == "running" and self.share is not None and known:
            left = (time.monotonic() - self.started) * (1 / self.share - 1)
        return {
            "id": self.identity,
            "name": self.title,
            "run": self.run,
            "state": self.state,
            "stage": self.stage,
            "done": self.done,
            "total": self.total,
            "share": self.share,
            "seconds_left": left,
            "error": self.error,
            "unusable": self.unusable,
            "faces": self.faces,
            "revision": self.revision,
            "added": self.added,
        }

    def save(self, limits: Limits) -> None:
        """Writes what a worker needs, and what the next start of the server needs.

        Args:
          limits: of the worker.

        Raises:
          OSError: if it cannot be written.
        """
        value = {name: getattr(self, name) for name in _SAVED}
        value["limits"] = {
            "memory": limits.memory,
            "seconds": limits.seconds,
            # A copy of the recording, or tables of its frames
            "file": 2 * limits.upload,
        }
        files.write_json(self.files.job, value)


def numbered(name: str, number: int) -> str:
    """Returns a name that differs from those of other recordings of the same name.

    Args:
      name: of a recording, or of files that are made from it.
      number: of the recording, from 1, which is left out.
    """
    return name if number == 1 else f"{name} ({number})"


def load(folder: Path) -> Job:
    """Returns the recording of an earlier start; what was begun is begun again.

    Args:
      folder: of the recording.

    Raises:
      FileNotFoundError: if its upload was interrupted.
      OSError, ValueError, KeyError, TypeError: if it cannot be read.
    """
    of_job = JobFiles(folder)
    saved = _LATER | json.loads(of_job.job.read_text(encoding="utf-8"))
    job = Job(folder.name, of_job, **{name: saved[name] for name in _SAVED})
    if job.state == "running":
        job.state = "queued"
    if not _VIDEO.fullmatch(job.video):
        raise ValueError(f"{job.video} is not the name of a recording")
    if of_job.corrections.is_file():
        corrected = json.loads(of_job.corrections.read_text(encoding="utf-8"))
        job.revision = corrected["revision"]
    return job
