"""Recordings of the page: a queue, of which one at a time is analysed in a process."""

import asyncio
import contextlib
import json
import re
import secrets
import shutil
import sys
import traceback
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

from meranet_jax import files
from meranet_jax.errors import UserError
from meranet_jax.web import corrections, uploads, worker_process
from meranet_jax.web import job as job_module
from meranet_jax.web.job import Job
from meranet_jax.web.job_files import JobFiles
from meranet_jax.web.limits import Limits
from meranet_jax.web.worker_process import WORKER

# Identities, which are generated, and names of folders
_IDENTITY = re.compile(r"[0-9a-f]{32}")


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
        for path in folder.iterdir():
            # A link may lead to files of others.
            is_folder = path.is_dir() and not path.is_symlink()
            if is_folder and _IDENTITY.fullmatch(path.name):
                self._take_over(path)

    def _take_over(self, folder: Path) -> None:
        """Adds a recording of an earlier start."""
        try:
            found = job_module.load(folder)
        except FileNotFoundError:
            # An upload that was interrupted; it has no file job.json yet.
            shutil.rmtree(folder, ignore_errors=True)
            return
        except (OSError, ValueError, KeyError, TypeError) as error:
            print(
                f"{folder / 'job.json'} cannot be read ({type(error).__name__}: "
                f"{error}). The recording in its folder is kept, and is not shown.",
                file=sys.stderr,
            )
            return
        self._jobs[found.identity] = found

    def all(self) -> list[Job]:
        """Returns all recordings, oldest first."""
        return sorted(self._jobs.values(), key=lambda job: job.added)

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
                    recorded=recorded,
                )
            )

    async def repeat(self, job: Job, run: str, run_path: str | None) -> Job:
        """Analyses a recording again.

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
            raise UserError(f"{job.title} is in the queue already.")
        if job.state != "done":
            job.run, job.run_path = run, run_path
            job.state, job.error, job.unusable = "queued", "", False
            job.save(self._limits)
            self._changed.set()
            return job
        with self._new_folder() as folder:
            video = folder / job.video
            await asyncio.to_thread(_link, job.files.folder / job.video, video)
            return self._add(
                Job(
                    folder.name,
                    JobFiles(folder),
                    job.video,
                    job.name,
                    run,
                    run_path,
                    recorded=job.recorded,
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
        # Exports have no suffix of the video, and some disks ignore the case of names.
        others = self._jobs.values()
        stem = job.stem.casefold()
        same = [one.number for one in others if one.stem.casefold() == stem]
        job.number = max(same, default=0) + 1
        taken = {one.export_name.casefold() for one in others}
        while job.export_name.casefold() in taken:  # of a video named like "clip (2)"
            job.number += 1
        job.save(self._limits)
        self._jobs[job.identity] = job
        self._changed.set()
        return job

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
                job.begin("")
            except Exception:  # the queue goes on with the next recording
                traceback.print_exc()
                job.state = "failed"
                job.error = "The analysis failed; the terminal of the server shows why."
                job.begin("")

    async def _analyse(self, job: Job) -> None:
        job.state, job.unusable, job.faces = "running", False, None
        job.begin("preparing")
        job.save(self._limits)
        error = await self._run(job, "predict", self._limits.seconds)
        # It may have been cancelled meanwhile.
        if job.state == "running":
            job.state, job.error = ("failed", error) if error else ("done", "")
            job.begin("")
        if job.identity in self._jobs:
            job.save(self._limits)

    async def _run(self, job: Job, what: str, seconds: float) -> str:
        return await worker_process.run(
            self._worker, job, what, seconds, self._limits.memory
        )

    def cancel(self, job: Job) -> None:
        """Stops the analysis of a recording, or takes it from the queue."""
        if job.state in ("queued", "running"):
            job.state = "cancelled"
            job.begin("")
            if job.process is not None:
                worker_process.kill(job.process)
            job.save(self._limits)

    async def delete(self, job: Job) -> None:
        """Deletes a recording with all of its files.

        Raises:
          UserError: if some of them cannot be deleted. The recording stays in the list.
        """
        self.cancel(job)
        if job.process is not None:  # of an export
            worker_process.kill(job.process)
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
                raise UserError(f"{job.title}: {job.error}") from error
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
        # Without waiting from here on, so that no other request comes between
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
                f"The corrections of {job.title} were changed in another window."
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
            files.write_json(
                job.files.exported,
                {**self.corrections(job), "export_name": job.export_name},
            )
            job.exported = None
            error = await self._run(job, "export", self._limits.export)
            if error:
                raise UserError(f"The files cannot be written: {error}")
            job.exported = revision

    async def close(self) -> None:
        """Ends all workers; what was begun is in the queue at the next start."""
        for job in self.all():
            if job.process is not None:
                worker_process.kill(job.process)


def _link(file: Path, other: Path) -> None:
    """Gives a file another name, or copies it where the disk has no such names."""
    try:
        other.hardlink_to(file)
    except OSError:
        shutil.copyfile(file, other)
