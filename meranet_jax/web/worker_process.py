"""Workers as processes: what they print, their end, and limits of time."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Sequence

from meranet_jax.web.job import Job

# Longest line that a worker may print, in bytes
_LINE = 1 << 16

WORKER = (sys.executable, "-m", "meranet_jax.web.worker")


async def run(
    command: Sequence[str], job: Job, what: str, seconds: float, memory: int
) -> str:
    """Runs a worker, and returns why it failed; an empty text if it did not.

    Args:
      command: of the worker; see ``worker.main``.
      job: the recording, which knows how far the worker is.
      what: is to be done.
      seconds: after which it is stopped.
      memory: that it may take in bytes, for the sentence.
    """
    with job.files.log.open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *command,
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
        kill(process)
    error = ""
    try:
        async with asyncio.timeout(seconds):
            error = await _listen(job, process, what)
            await process.wait()
    except TimeoutError:
        error = f"It took longer than {seconds / 60:.0f} minutes and was stopped."
    except ValueError:
        error = "The analysis failed."
    finally:
        kill(process)
        await process.wait()
        job.process = None
    # The user knows the recording by the name that is shown.
    error = error.replace(job.video, job.name)
    if not error and process.returncode:
        if what == "export":
            return "The process that writes them was stopped."
        return (
            "The analysis stopped. The recording may be damaged, or need more memory "
            f"than {memory / 1e9:.0f} GB."
        )
    return error


async def _listen(job: Job, process: asyncio.subprocess.Process, what: str) -> str:
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
            job.unusable = what == "predict" and said.get("unusable") is True
        elif what != "predict" or job.state != "running":
            continue  # it may have been cancelled meanwhile
        elif isinstance(said.get("stage"), str):
            if said["stage"] != job.stage:
                job.begin(said["stage"])
            done, total = said.get("done"), said.get("total")
            job.done = job.total = None
            if isinstance(done, int | float) and isinstance(total, int | float):
                job.done, job.total = done, total
        elif isinstance(said.get("faces"), int):
            job.faces = said["faces"]
    return error


def kill(process: asyncio.subprocess.Process) -> None:
    """Kills a worker with the processes that it has started."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if hasattr(os, "killpg"):
                os.killpg(process.pid, signal.SIGKILL)
            else:  # on Windows
                process.kill()
