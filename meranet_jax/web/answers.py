"""Answers that are files."""

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import FileResponse, Response

from meranet_jax.web import security

# Files of the page itself
STATIC = Path(__file__).with_name("static")

Answer = Callable[[Request], Coroutine[Any, Any, Response]]


def static(name: str, kind: str) -> Answer:
    """Returns what answers with a file of the page.

    Args:
      name: of the file.
      kind: its type, such as ``text/css``.
    """

    async def answer(_request: Request) -> Response:
        return FileResponse(STATIC / name, media_type=kind)

    return answer


def file(path: Path, kind: str, ready: bool, name: str | None = None) -> Response:
    """Returns a file of a recording.

    Args:
      path: of the file.
      kind: its type, such as ``video/mp4``.
      ready: whether it is complete.
      name: by which a browser saves it; None if the browser shows it.
    """
    if not ready or not path.is_file():
        return security.refusal(404, "This file does not exist yet.")
    return FileResponse(path, media_type=kind, filename=name)
