"""Answers of the page of runs: a list, one run, its pictures, and two compared."""

import asyncio
from typing import Any

from starlette.requests import Request
from starlette.responses import (
    JSONResponse,
    PlainTextResponse,
    Response,
)
from starlette.routing import Route

from meranet_jax.errors import UserError
from meranet_jax.web import run_comparison, run_facts, runs, security
from meranet_jax.web.answers import static
from meranet_jax.web.run_files import FIGURES, RunFiles
from meranet_jax.web.runs import Catalogue, Choice


class RunPages:
    """Answers requests about runs, which know identities and no paths."""

    def __init__(self, catalogue: Catalogue):
        """Sets what is shown.

        Args:
          catalogue: of the recognisers.
        """
        self._catalogue = catalogue
        # A comparison uses a core for some time, and a page asks for one at a time.
        self._comparing = asyncio.Lock()

    def routes(self) -> list[Route]:
        """Returns the addresses."""
        run = "/api/runs/{id}"
        return [
            Route("/runs", static("runs.html", "text/html")),
            Route("/runs/{id}", self.text),
            Route("/api/runs", self.all),
            Route(run, self.one),
            Route(f"{run}/pictures/{{name}}", self.picture),
            Route(f"{run}/compared/{{other}}", self.compared),
        ]

    async def all(self, _request: Request) -> Response:
        """Returns all recognisers, and the runs that cannot be chosen."""
        await self._catalogue.refresh()
        found = self._catalogue.found
        return JSONResponse(
            {
                "runs": [
                    {
                        "id": one.identity,
                        "name": one.title,
                        "shipped": one.path is None,
                        **one.facts,
                    }
                    for one in found.choices.values()
                ],
                "refused": [
                    {"name": name, "reason": reason} for name, reason in found.refused
                ],
            }
        )

    async def one(self, request: Request) -> Response:
        """Returns a run: its numbers, report, settings and calibration."""
        chosen = self._find(request.path_params["id"])
        if chosen is None:
            return _no_run()
        shown = {"id": chosen.identity, "name": chosen.title}
        if chosen.path is None:
            return JSONResponse(shown | await asyncio.to_thread(_shipped))
        found = await asyncio.to_thread(run_facts.details, RunFiles(chosen.path))
        return JSONResponse(shown | {"shipped": False} | found)

    async def text(self, request: Request) -> Response:
        """Returns the report of a run, or a description of the package's weights."""
        chosen = self._find(request.path_params["id"])
        if chosen is None:
            return _no_run()
        if chosen.path is None:
            return PlainTextResponse(await asyncio.to_thread(runs.shipped_report))
        try:
            text = await asyncio.to_thread(RunFiles(chosen.path).report_text)
        except UserError as error:
            return security.refusal(404, str(error))
        return PlainTextResponse(text)

    async def picture(self, request: Request) -> Response:
        """Returns a figure of a run."""
        chosen = self._find(request.path_params["id"])
        name = request.path_params["name"].removesuffix(".png")
        if chosen is None or chosen.path is None or name not in FIGURES:
            return security.refusal(404, "There is no such picture.")
        try:
            content = await asyncio.to_thread(RunFiles(chosen.path).picture, name)
        except UserError as error:
            return security.refusal(404, str(error))
        return Response(content, media_type="image/png")

    async def compared(self, request: Request) -> Response:
        """Returns the paired differences of two runs, or why there are none."""
        both = [self._find(request.path_params[name]) for name in ("id", "other")]
        files = [RunFiles(one.path) for one in both if one is not None and one.path]
        if len(files) < 2:
            return _no_run()
        async with self._comparing:
            try:
                found = await asyncio.to_thread(run_comparison.compare, *files)
            except UserError as error:
                found = {"reason": str(error)}
        return JSONResponse(found)

    def _find(self, identity: str) -> Choice | None:
        return self._catalogue.choices.get(identity)


def _shipped() -> dict[str, Any]:
    measured = runs.shipped_calibration()
    calibration = None if measured is None else run_facts.calibration(measured)
    return {
        "shipped": True,
        "card": runs.shipped_card(),
        "calibration": calibration,
        "problems": [],
    }


def _no_run() -> Response:
    return security.refusal(404, "There is no such run. It may have been deleted.")
