"""Recordings of the page: a queue, of which one at a time is analysed in a process."""

import asyncio
import contextlib
import dataclasses
import json
import os
import re
import secrets
import shutil
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from meranet_jax import files
from meranet_jax.errors import UserError
from meranet_jax.web import corrections, uploads
from meranet_jax.web.job_files import JobFiles
from meranet_jax.web.limits import Limits

State = Literal["queued", "running", "done", "failed", "cancelled"]

# Identities, which are generated, and names of folders; names of files of recordings
_IDENTITY = re.compile(r"[0-9a-f]{32}")
_VIDEO = re.compile(r"video\.\w{2,4}")

# What job.json has
_SAVED = ("video", "name", "run", "run_path", "recorded", "state", "error")

# Longest line that a worker may print, in bytes
_LINE = 1 << 16

WORKER = (sys.executable, "-m", "meranet_jax.web.worker")


@dataclasses.dataclass
class Job:
    """A recording.

    Attributes:
      identity: generated.
      files: of the recording.
      video: name of its file.
      name: as it is shown.
      run: title of the recogniser.
      run_path: its folder; None for the weights of the package.
      recorded: whether it was made with the webcam.
      state: see ``State``.
      stage: name of the stage of the work.
      share: how far the stage is, 0 to 1; None if it is not known.
      started: clock when the stage began, in seconds.
      error: one sentence, if it failed.
      process: the worker, while there is one.
      lock: held while files of the job are written.
      revision: how often corrections were saved.
      intervals: onset and offset of each candidate, once they have been read.
      duration: in seconds, likewise.
    """

    identity: str
    files: JobFiles
    video: str
    name: str
    run: str
    run_path: str | None
    recorded: bool = False
    state: State = "queued"
    stage: str = ""
    share: float | None = None
    started: float = 0.0
    error: str = ""
    process: asyncio.subprocess.Process | None = None
    lock: asyncio.Lock = dataclasses.field(default_factory=asyncio.Lock)
    revision: int = 0
    intervals: dict[int, tuple[float, float]] | None = None
    duration: float = 0.0

    def shown(self) -> dict[str, Any]:
        """Returns what the page shows."""
        left = None
        # Only the measurement takes equal times for equal parts of a recording.
        known = self.stage == "motion" and (self.share or 0) > 0.02
        if self.state == "running" and self.share is not None and known:
            left = (time.monotonic() - self.started) * (1 / self.share - 1)
        return {
            "id": self.identity,
            "name": self.name,
            "run": self.run,
            "state": self.state,
            "stage": self.stage,
            "share": self.share,
            "seconds_left": left,
            "error": self.error,
            "revision": self.revision,
        }


class ChangedError(UserError):
    """Corrections that were changed meanwhile, by another window."""


class Jobs:
    """All recordings below a folder."""

    def __init__(
        self, folder: Path, limits: Limits, worker: Sequence[str] = WORKER
    ) -> None:
        """Takes over the recordings that are in the folder.

        Args:
          folder: of the recordings, one folder each.
          limits: of each.
          worker: command that does the work; see ``worker.main``.
        """
        self._folder, self._limits, self._worker = folder, limits, worker
        self._jobs: dict[str, Job] = {}
        self._changed = asyncio.Event()
        self._receiving = 0
        for path in sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime):
            # A link may lead to files of others.
            is_folder = path.is_dir() and not path.is_symlink()
            if is_folder and _IDENTITY.fullmatch(path.name):
                self._take_over(path)

    def _take_over(self, folder: Path) -> None:
        """Adds a recording of an earlier start; what was begun is begun again."""
        of_job = JobFiles(folder)
        try:
            saved = json.loads(of_job.job.read_text(encoding="utf-8"))
            state: State = saved["state"]
            if state == "running":
                state = "queued"
            job = Job(folder.name, of_job, **{name: saved[name] for name in _SAVED})
            job.state = state
            if not _VIDEO.fullmatch(job.video):
                raise ValueError(f"{job.video} is not the name of a recording")
            if of_job.corrections.is_file():
                corrected = json.loads(of_job.corrections.read_text(encoding="utf-8"))
                job.revision = corrected["revision"]
        except FileNotFoundError:
            # An upload that was interrupted; it has no file job.json yet.
            shutil.rmtree(folder, ignore_errors=True)
            return
        except (OSError, ValueError, KeyError, TypeError) as error:
            print(
                f"{of_job.job} cannot be read ({type(error).__name__}: {error}). The "
                "recording in its folder is kept, and is not shown.",
                file=sys.stderr,
            )
            return
        self._jobs[job.identity] = job

    def all(self) -> list[Job]:
        """Returns all recordings, oldest first."""
        return list(self._jobs.values())

    def find(self, identity: str) -> Job:
        """Returns a recording.

        Raises:
          KeyError: if there is none.
        """
        return self._jobs[identity]

    async def add(
        self,
        chunks: AsyncIterator[bytes],
        declared: int | None,
        name: str,
        run: str,
        run_path: str | None,
        recorded: bool = False,
    ) -> Job:
        """Receives a recording and adds it to the queue.

        Args:
          chunks: its bytes.
          declared: its size as the request names it.
          name: as the browser names it.
          run: title of the recogniser.
          run_path: its folder; None for the weights of the package.
          recorded: whether it was made with the webcam.

        Raises:
          UserError: if it cannot be used.
        """
        with self._new_folder() as folder:
            video = await uploads.receive(
                chunks, folder, declared, self._limits.upload, self._limits.free
            )
            return self._add(
                Job(
                    folder.name,
                    JobFiles(folder),
                    video.name,
                    uploads.shown_name(name),
                    run,
                    run_path,
                    recorded,
                )
            )

    async def repeat(self, job: Job, run: str, run_path: str | None) -> Job:
        """Analyses a recording another time.

        What was analysed keeps its results and corrections: the recording is added as
        another one.

        Args:
          job: the recording.
          run: title of the recogniser.
          run_path: its folder; None for the weights of the package.

        Returns:
          The recording that is in the queue.

        Raises:
          UserError: if it is in the queue already, or cannot be added.
        """
        if job.state in ("queued", "running"):
            raise UserError(f"{job.name} is in the queue already.")
        if job.state != "done":
            job.run, job.run_path = run, run_path
            job.state, job.error = "queued", ""
            self._save(job)
            self._changed.set()
            return job
        with self._new_folder() as folder:
            video = folder / job.video
            await asyncio.to_thread(_link, job.files.folder / job.video, video)
            return self._add(
                dataclasses.replace(
                    job,
                    identity=folder.name,
                    files=JobFiles(folder),
                    run=run,
                    run_path=run_path,
                    state="queued",
                    lock=asyncio.Lock(),
                    revision=0,
                    intervals=None,
                )
            )

    @contextlib.contextmanager
    def _new_folder(self) -> Iterator[Path]:
        """Yields the folder of a new recording, which is deleted if that fails.

        Raises:
          UserError: if there are too many recordings.
        """
        if len(self._jobs) + self._receiving >= self._limits.recordings:
            raise UserError(
                f"There are {self._limits.recordings} recordings. Delete some first."
            )
        folder = self._folder / secrets.token_hex(16)
        folder.mkdir(mode=0o700)
        self._receiving += 1
        try:
            yield folder
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        finally:
            self._receiving -= 1

    def _add(self, job: Job) -> Job:
        self._save(job)
        self._jobs[job.identity] = job
        self._changed.set()
        return job

    def _save(self, job: Job) -> None:
        value = {name: getattr(job, name) for name in _SAVED}
        value["limits"] = {
            "memory": self._limits.memory,
            "seconds": self._limits.seconds,
            # A copy of the recording, or tables of its frames
            "file": 2 * self._limits.upload,
        }
        files.write_json(job.files.job, value)

    async def work(self) -> None:
        """Analyses the recordings of the queue one after another, without end."""
        while True:
            job = next((one for one in self.all() if one.state == "queued"), None)
            if job is None:
                self._changed.clear()
                await self._changed.wait()
                continue
            try:
                async with job.lock:
                    if job.state == "queued":
                        await self._analyse(job)
            except OSError as error:  # a full disk, for example
                job.state = "failed"
                job.error = f"The recording cannot be analysed: {error.strerror}."

    async def _analyse(self, job: Job) -> None:
        job.state, job.stage, job.share = "running", "preparing", None
        job.started = time.monotonic()
        self._save(job)
        error = await self._run(job, "predict", self._limits.seconds)
        # It may have been cancelled meanwhile.
        if job.state == "running":
            job.state, job.error = ("failed", error) if error else ("done", "")
            job.stage, job.share = "", None
        if job.identity in self._jobs:
            self._save(job)

    async def _run(self, job: Job, what: str, seconds: float) -> str:
        """Runs a worker, and returns why it failed; an empty text if it did not."""
        with job.files.log.open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                *self._worker,
                what,
                str(job.files.folder),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                limit=_LINE,
                start_new_session=True,
            )
        job.process = process
        if job.state == "cancelled":  # while it was being started
            _kill(process)
        error = ""
        try:
            async with asyncio.timeout(seconds):
                error = await self._listen(job, process, what)
                await process.wait()
        except TimeoutError:
            error = f"It took longer than {seconds / 60:.0f} minutes and was stopped."
        except ValueError:
            error = "The analysis failed."
        finally:
            _kill(process)
            await process.wait()
            job.process = None
        # The user knows the recording by the name that is shown.
        error = error.replace(job.video, job.name)
        if not error and process.returncode:
            return (
                "The analysis stopped. The recording may be damaged, or need more "
                f"memory than {self._limits.memory / 1e9:.0f} GB."
            )
        return error

    async def _listen(
        self, job: Job, process: asyncio.subprocess.Process, what: str
    ) -> str:
        """Follows what a worker prints, and returns the error that it reports."""
        error = ""
        assert process.stdout is not None
        async for line in process.stdout:
            try:
                said = json.loads(line)
            except ValueError:
                continue  # of a library
            if not isinstance(said, dict):
                continue
            if isinstance(said.get("error"), str):
                error = said["error"]
            elif what == "predict" and isinstance(said.get("stage"), str):
                if said["stage"] != job.stage:
                    job.stage, job.started = said["stage"], time.monotonic()
                done, total = said.get("done"), said.get("total")
                job.share = None
                if isinstance(done, int | float) and isinstance(total, int | float):
                    job.share = min(max(done / total, 0.0), 1.0) if total > 0 else None
        return error

    def cancel(self, job: Job) -> None:
        """Stops the analysis of a recording, or takes it from the queue."""
        if job.state in ("queued", "running"):
            job.state, job.stage, job.share = "cancelled", "", None
            if job.process is not None:
                _kill(job.process)
            self._save(job)

    async def delete(self, job: Job) -> None:
        """Deletes a recording with all of its files.

        Raises:
          UserError: if some of them cannot be deleted. The recording stays in the list.
        """
        self.cancel(job)
        if job.process is not None:  # of an export
            _kill(job.process)
        async with job.lock:  # until the worker has ended
            try:
                await asyncio.to_thread(shutil.rmtree, job.files.folder)
            except FileNotFoundError:  # it was deleted at the same time
                pass
            except OSError as error:
                job.state = "failed"
                job.error = (
                    f"It cannot be deleted completely: {error.strerror}. Delete the "
                    f"folder {job.identity} in the folder of the page."
                )
                raise UserError(f"{job.name}: {job.error}") from error
        self._jobs.pop(job.identity, None)

    def corrections(self, job: Job) -> dict[str, Any]:
        """Returns the corrections of a recording, and their revision."""
        if not job.files.corrections.is_file():
            return {"revision": 0, "corrections": []}
        return json.loads(job.files.corrections.read_text(encoding="utf-8"))

    async def correct(self, job: Job, value: Any) -> int:
        """Saves the corrections of a recording, and returns their new revision.

        Args:
          job: the recording.
          value: the corrections, and the revision that they change.

        Raises:
          ChangedError: if that is not the latest revision.
          UserError: if they are none; see ``corrections.check``.
        """
        if not isinstance(value, dict):
            raise UserError("The corrections are not an object. Load the page again.")
        if job.intervals is None:
            # Of a long recording the file is large.
            text = await asyncio.to_thread(job.files.page.read_text, "utf-8")
            shown = await asyncio.to_thread(json.loads, text)
            job.duration = shown["duration"]
            job.intervals = {
                event["number"]: (event["onset"]["time"], event["offset"]["time"])
                for event in shown["events"]
            }
        # Nothing else is done from here to the end.
        self._check_revision(job, value.get("revision"))
        checked = corrections.check(
            value.get("corrections"), job.intervals, job.duration
        )
        files.write_json(
            job.files.corrections,
            {
                "revision": job.revision + 1,
                "corrections": corrections.to_objects(checked),
            },
        )
        job.revision += 1
        return job.revision

    def _check_revision(self, job: Job, revision: Any) -> None:
        if type(revision) is not int or revision != job.revision:
            raise ChangedError(
                f"The corrections of {job.name} were changed in another window."
            )

    async def export(self, job: Job, revision: int) -> None:
        """Writes the file of all results and corrections.

        Args:
          job: the recording.
          revision: of the corrections that the user sees.

        Raises:
          ChangedError: if that is not the latest revision.
          UserError: if it cannot be written.
        """
        async with job.lock:
            self._check_revision(job, revision)
            error = await self._run(job, "export", self._limits.export)
        if error:
            raise UserError(f"The files cannot be written: {error}")

    async def close(self) -> None:
        """Ends all workers; what was begun is in the queue at the next start."""
        for job in self.all():
            if job.process is not None:
                _kill(job.process)


def _kill(process: asyncio.subprocess.Process) -> None:
    """Kills a worker with the processes that it has started."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)


def _link(file: Path, other: Path) -> None:
    """Gives a file another name, or copies it where the disk has no such names."""
    try:
        other.hardlink_to(file)
    except OSError:
        shutil.copyfile(file, other)
