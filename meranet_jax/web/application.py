"""The application behind the page: what each address answers."""

import asyncio
import contextlib
import functools
import json
import re
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Sequence
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from meranet_jax.errors import UserError
from meranet_jax.version import __version__
from meranet_jax.web import runs, security
from meranet_jax.web.answers import STATIC, Answer, file, static
from meranet_jax.web.job import Job
from meranet_jax.web.jobs import ChangedError, Jobs
from meranet_jax.web.limits import Limits
from meranet_jax.web.run_pages import RunPages
from meranet_jax.web.uploads import TooLargeError
from meranet_jax.web.worker_process import WORKER

# The files of the page, and their types: no others are sent.
_PAGE_FILES = {
    "page.css": "text/css",
    "icon.svg": "image/svg+xml",
    **{path.name: "text/javascript" for path in sorted(STATIC.glob("*.js"))},
}
_VIDEO_TYPES = {
    ".mp4": "video/mp4",
    ".webm": "video/webm",
    ".avi": "video/x-msvideo",
    ".ts": "video/mp2t",
    ".mpg": "video/mpeg",
    ".wmv": "video/x-ms-wmv",
    ".flv": "video/x-flv",
}
_PICTURE_TYPES = {".png": "image/png", ".gif": "image/gif"}

# Identities of faces
_FACE = re.compile(r"[1-9][0-9]{0,3}")

# Bytes that corrections may have
_CORRECTIONS = 1 << 20


class _Page:
    """Answers requests that have passed ``security.OwnBrowserOnly``."""

    def __init__(
        self,
        folder: Path,
        run_folder: Path | None,
        limits: Limits,
        worker: Sequence[str],
        keep: bool,
    ):
        self._folder, self._limits, self._worker = folder, limits, worker
        self._keep = keep
        self._catalogue = runs.Catalogue(run_folder)
        self.jobs: Jobs

    @contextlib.asynccontextmanager
    async def lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        """Works on the queue while the server runs."""
        self.jobs = Jobs(self._folder, self._limits, self._worker)
        work = asyncio.create_task(self.jobs.work())
        try:
            yield
        finally:
            work.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await work
            await self.jobs.close()

    def routes(self) -> list[Route]:
        """Returns all addresses."""
        job = "/api/jobs/{id}"
        return [
            Route("/", self.index),
            *[
                Route(f"/{name}", static(name, kind))
                for name, kind in _PAGE_FILES.items()
            ],
            Route("/api/state", self.state),
            Route("/api/jobs", self.upload, methods=["POST"]),
            Route(job, self._of_job(self.delete), methods=["DELETE"]),
            Route(f"{job}/cancel", self._of_job(self.cancel), methods=["POST"]),
            Route(f"{job}/result", self._of_job(self.result)),
            Route(f"{job}/times", self._of_job(self.times)),
            Route(f"{job}/motion/{{face}}", self._of_job(self.motion)),
            Route(f"{job}/video", self._of_job(self.video)),
            Route(f"{job}/repeat", self._of_job(self.repeat), methods=["POST"]),
            Route(f"{job}/pictures/{{name}}", self._of_job(self.picture)),
            Route(
                f"{job}/corrections", self._of_job(self.corrections), methods=["GET"]
            ),
            Route(f"{job}/corrections", self._of_job(self.correct), methods=["PUT"]),
            Route(f"{job}/export", self._of_job(self.export), methods=["POST"]),
            Route(f"{job}/export.zip", self._of_job(self.exported)),
            *RunPages(self._catalogue).routes(),
        ]

    def _of_job(
        self, answer: Callable[[Job, Request], Coroutine[Any, Any, Response]]
    ) -> Answer:
        """Returns an answer to requests that name a recording."""

        @functools.wraps(answer)
        async def of_job(request: Request) -> Response:
            try:
                job = self.jobs.find(request.path_params["id"])
            except KeyError:
                return security.refusal(404, "There is no such recording.")
            return await answer(job, request)

        return of_job

    async def index(self, _request: Request) -> Response:
        """Returns the page, whose list of recognisers has the runs of now."""
        await self._catalogue.refresh()
        return FileResponse(STATIC / "index.html", media_type="text/html")

    async def state(self, _request: Request) -> Response:
        """Returns all recordings, recognisers and limits."""
        return JSONResponse(
            {
                "version": __version__,
                "largest": self._limits.upload,
                "keep": self._keep,
                "runs": [
                    {"id": one.identity, "title": one.title}
                    for one in self._catalogue.choices.values()
                ],
                "jobs": [job.shown() for job in self.jobs.all()],
            }
        )

    async def upload(self, request: Request) -> Response:
        """Receives a recording: the body of the request, as it is."""
        chosen = self._chosen(request)
        length = request.headers.get("content-length", "")
        job = await self.jobs.add(
            request.stream(),
            int(length) if length.isascii() and length.isdigit() else None,
            request.query_params.get("name", ""),
            chosen.title,
            None if chosen.path is None else str(chosen.path),
            "recorded" in request.query_params,
        )
        return JSONResponse(job.shown(), status_code=201)

    async def repeat(self, job: Job, request: Request) -> Response:
        """Analyses a recording again, for instance with another recogniser."""
        chosen = self._chosen(request)
        path = None if chosen.path is None else str(chosen.path)
        again = await self.jobs.repeat(job, chosen.title, path)
        return JSONResponse(again.shown(), status_code=201)

    def _chosen(self, request: Request) -> runs.Choice:
        """Returns the recogniser that a request names.

        Raises:
          UserError: if there is none.
        """
        chosen = self._catalogue.choices.get(
            request.query_params.get("run", runs.SHIPPED)
        )
        if chosen is None:
            raise UserError("There is no such recogniser.")
        return chosen

    async def cancel(self, job: Job, _request: Request) -> Response:
        """Stops the analysis of a recording."""
        self.jobs.cancel(job)
        return JSONResponse(job.shown())

    async def delete(self, job: Job, _request: Request) -> Response:
        """Deletes a recording."""
        await self.jobs.delete(job)
        return Response(status_code=204)

    async def result(self, job: Job, _request: Request) -> Response:
        """Returns what the page shows of a prediction."""
        return file(job.files.page, "application/json", job.state == "done")

    async def times(self, job: Job, _request: Request) -> Response:
        """Returns when each frame is shown; see ``JobFiles.times``."""
        return file(job.files.times, "application/octet-stream", job.state == "done")

    async def motion(self, job: Job, request: Request) -> Response:
        """Returns the motion of a face; see ``JobFiles.motion``."""
        face = request.path_params["face"]
        if not _FACE.fullmatch(face):
            return security.refusal(404, "There is no such face.")
        path = job.files.motion(int(face))
        return file(path, "application/octet-stream", job.state == "done")

    async def video(self, job: Job, request: Request) -> Response:
        """Returns the recording, or the part of it that the request names."""
        path = job.files.folder / job.video
        saved = "download" in request.query_params
        return file(path, _VIDEO_TYPES[path.suffix], True, job.name if saved else None)

    async def picture(self, job: Job, request: Request) -> Response:
        """Returns a picture of a candidate."""
        # The name is compared with those that exist, and no path is made of it.
        existing = {}
        if job.files.pictures.is_dir():
            existing = {path.name: path for path in job.files.pictures.iterdir()}
        path = existing.get(request.path_params["name"])
        if path is None or path.suffix not in _PICTURE_TYPES:
            return security.refusal(404, "There is no such picture.")
        return file(path, _PICTURE_TYPES[path.suffix], True)

    async def corrections(self, job: Job, _request: Request) -> Response:
        """Returns the corrections of a recording."""
        return JSONResponse(self.jobs.corrections(job))

    async def correct(self, job: Job, request: Request) -> Response:
        """Saves the corrections of a recording."""
        if job.state != "done":
            return security.refusal(409, "The recording is not analysed yet.")
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > _CORRECTIONS:
                return security.refusal(413, "These are too many corrections.")
        try:
            value = json.loads(body)
        except (ValueError, RecursionError):
            return security.refusal(400, "The corrections are not JSON.")
        return JSONResponse({"revision": await self.jobs.correct(job, value)})

    async def export(self, job: Job, request: Request) -> Response:
        """Writes the file of all results and corrections."""
        if job.state != "done":
            return security.refusal(409, "The recording is not analysed yet.")
        revision = request.query_params.get("revision", "")
        if not (revision.isascii() and revision.isdigit()):
            return security.refusal(400, "The revision of the corrections is missing.")
        await self.jobs.export(job, int(revision[:9]))
        return Response(status_code=204)

    async def exported(self, job: Job, request: Request) -> Response:
        """Returns the file of all results and corrections."""
        if request.query_params.get("revision") != str(job.exported):
            return security.refusal(409, "Another window has exported something else.")
        return file(job.files.export, "application/zip", True, f"{job.export_name}.zip")


async def _refused(_request: Request, error: Exception) -> Response:
    """Answers a request that a user's error has stopped."""
    statuses = {TooLargeError: 413, ChangedError: 409}
    return security.refusal(statuses.get(type(error), 400), str(error))


async def _http_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    sentences = {404: "There is no such page.", 405: "This cannot be done here."}
    sentence = sentences.get(error.status_code, "This request cannot be answered.")
    return security.refusal(error.status_code, sentence)


async def _disk_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, OSError)
    return security.refusal(
        507,
        f"A file cannot be read or written: {error.strerror or 'unknown reason'}.",
    )


async def _gone(_request: Request, _error: Exception) -> Response:
    return security.refusal(400, "The upload was interrupted.")


async def _failed(_request: Request, _error: Exception) -> Response:
    return security.refusal(500, "The server has failed; its terminal shows why.")


def make_application(
    folder: Path,
    *,
    token: str,
    hosts: Collection[str],
    port: int,
    launch: str | None = None,
    run_folder: Path | None = None,
    limits: Limits | None = None,
    worker: Sequence[str] = WORKER,
    keep: bool = False,
) -> ASGIApp:
    """Makes the application.

    Args:
      folder: of the recordings, which exists.
      token: the secret of this start; see ``security.make_token``.
      hosts: names and addresses of this server.
      port: of this server.
      launch: a secret that is valid once; see ``security.OwnBrowserOnly``.
      run_folder: below which runs can be chosen; None for none.
      limits: of uploads and workers; None for the default.
      worker: command of the worker; see ``worker.main``.
      keep: whether recordings are kept at the end, which the page says.
    """
    page = _Page(folder, run_folder, limits or Limits(), worker, keep)
    app = Starlette(
        routes=page.routes(),
        exception_handlers={
            UserError: _refused,
            HTTPException: _http_error,
            ClientDisconnect: _gone,
            OSError: _disk_error,
            Exception: _failed,
        },
        lifespan=page.lifespan,
    )
    # Around all of it, so that answers to failures have its headers, too
    return security.OwnBrowserOnly(
        app, token=token, launch=launch, hosts=hosts, port=port
    )
